"""The calls of one ingress replica: admitted while there is room, run to their end, drained when the replica goes."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from cluster.telemetry import Measure
from deployments.errors import CallerGone
from deployments.logs import call_id
from serve_app.call import Call
from serve_app.call_options import CallOptions
from serve_app.conversation.history import History
from serve_app.conversation.items import CallSettings, Ending
from serve_app.conversation.messages import GoingAway, StopSpeaking
from serve_app.conversation.vad_batch import BatchedVoiceActivity
from serve_app.directory import Directory
from serve_app.ear import Ear
from serve_app.options import IngressOptions
from serve_app.orders import obey
from serve_app.outbox import Outbox
from serve_app.readiness import Readiness
from serve_app.records import recorded
from serve_app.sessions import KeptSession
from serve_app.stage import Common, Stage
from serve_app.transports.base import Transport

log = logging.getLogger("antiphon.ingress")

FAREWELL_S = 5.0
"""Before Serve ends a draining replica, calls that are still under way are told and closed."""


@dataclass(slots=True)
class Hosted:
    """A place that is taken. `call` is there once it runs."""

    name: str
    call: Call | None = None
    transport: Transport | None = None
    going: bool = False
    """It ends because the replica goes: whoever is still there gets another one."""
    broke: bool = False
    """It ended by a fault of ours."""
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def cut(self) -> bool:
        """The conversation is not over: somebody may go on with it."""
        return self.going or self.broke


class CallHost:
    """Places and the calls on them. `on_change` is called when their number changes, or the replica begins to drain."""

    def __init__(
        self,
        directory: Directory,
        vad: BatchedVoiceActivity,
        readiness: Readiness,
        options: CallOptions,
        ingress: IngressOptions,
        common: Common | None = None,
    ) -> None:
        self.common = common or Common()
        self.calls: dict[str, Hosted] = {}
        self.draining = False
        self.on_change: list[Callable[[], None]] = []
        self.directory = directory
        self._vad = vad
        self._readiness = readiness
        self._options = options
        self._ingress = ingress

    @property
    def max_calls(self) -> int:
        return self._ingress.max_calls

    @property
    def free(self) -> int:
        """How many more calls there is room for."""
        return 0 if self.draining else max(0, self.max_calls - len(self.calls))

    def admit(self) -> Hosted | None:
        """A place for a call, to be given back by `release`; None when there is none."""
        if not self.free:
            log.warning("refused a call: %d are under way%s", len(self.calls), ", draining" if self.draining else "")
            return None
        hosted = Hosted(f"call_{uuid4().hex[:12]}")
        self.calls[hosted.name] = hosted
        self._changed()
        return hosted

    def release(self, hosted: Hosted) -> None:
        if self.calls.pop(hosted.name, None) is not None:
            hosted.over.set()
            self._changed()

    async def run(
        self,
        hosted: Hosted,
        transport: Transport,
        outbox: Outbox,
        settings: CallSettings,
        session: KeptSession | None = None,
    ) -> Ending | None:
        """The call, from now to its end; the transport is closed whatever happens. Returns why the agent ended it;
        None: it did not. Whoever gives a `session` closes it."""
        call_id.set(hosted.name)
        reason, ended = "failed", None
        log.info("a call begins (%d under way)", len(self.calls))
        hosted.transport = transport
        ear = Ear(self._vad, self._options.listening, settings.turn_detection)
        try:
            async with recorded(hosted.name, ear, self._options) as recorder:
                stage = self._new_stage(hosted.name, transport, outbox, settings, session or KeptSession(hosted.name))
                hosted.call = Call(stage, ear, settings, recorder)
                async with asyncio.timeout(self._ingress.max_call_s):
                    await hosted.call.run()
            ended = hosted.call.ended
            reason = ended or "goodbye"
        except TimeoutError:
            log.info("a call may last %g s", self._ingress.max_call_s)
            reason = "going away"
        except Exception:
            log.exception("the call broke")
            hosted.broke = True
        finally:
            hosted.call = None
            await transport.close(reason)
            log.info("the call ended: %s", reason)
        return ended

    def _new_stage(
        self, name: str, transport: Transport, outbox: Outbox, settings: CallSettings, session: KeptSession
    ) -> Stage:
        return Stage(
            models=self.directory.models(settings),
            options=self._options,
            transport=transport,
            outbox=outbox,
            history=History(self._options.max_history_tokens, session.past.items if session.past else ()),
            session_id=name,
            stock=self._readiness.stock,
            common=self.common,
            session=session,
        )

    def stop_speaking(self, name: str) -> bool:
        """The agent of this call falls silent. False: there is no such call here."""
        hosted = self.calls.get(name)
        if hosted is None:
            return False
        if hosted.call is not None:
            obey(hosted.call, StopSpeaking())
        return True

    # --- the end

    def drain(self) -> None:
        """Take no new call; those under way go on."""
        if not self.draining:
            self.draining = True
            self._changed()
            for hosted in self.calls.values():
                if hosted.call is not None:
                    with suppress(CallerGone):
                        hosted.call.stage.outbox.tell(GoingAway(max(0.0, self._ingress.drain_s - FAREWELL_S)))

    async def drained(self) -> None:
        """Wait until the last call has ended, or close what is left shortly before Serve ends this replica."""
        self.drain()
        try:
            async with asyncio.timeout(max(0.0, self._ingress.drain_s - FAREWELL_S)):
                for hosted in list(self.calls.values()):
                    await hosted.over.wait()
        except TimeoutError:
            log.warning("%d calls are cut: a drain may last %g s", len(self.calls), self._ingress.drain_s)
            for hosted in self.calls.values():
                hosted.going = True
            left = [hosted.transport.close("going away") for hosted in self.calls.values() if hosted.transport]
            await asyncio.gather(*left, return_exceptions=True)

    def tell_load(self) -> None:
        """How many calls there are; to be told now and then as well, or it is taken for out of date."""
        self.common.telemetry.report(Measure("antiphon_calls", len(self.calls)))

    def _changed(self) -> None:
        self.tell_load()
        for tell in self.on_change:
            tell()
