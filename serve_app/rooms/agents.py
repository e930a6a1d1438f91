"""The agents of one ingress replica: each in a room, from joining to leaving."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import numpy as np

from deployments.contracts import SPEECH_RATE_HZ
from deployments.errors import BadRequest
from deployments.logs import call_id
from serve_app.call_options import CallOptions
from serve_app.conversation.items import CallSettings
from serve_app.host import CallHost, Hosted
from serve_app.options import LiveKitOptions
from serve_app.paced_outbox import PacedOutbox
from serve_app.readiness import Readiness
from serve_app.rooms.choices import Choices, Known, choose
from serve_app.rooms.roll import Ended, Stay
from serve_app.rooms.server import Badge, ServerGone
from serve_app.sessions import KeptSession, Sessions
from serve_app.transports.livekit_audio import Metronome
from serve_app.transports.livekit_ffi import keep_logs_native, let_go_late
from serve_app.transports.livekit_joining import RoomLost, Ticket
from serve_app.transports.livekit_line import RoomLine
from serve_app.transports.livekit_room import LiveKitRoom
from serve_app.transports.livekit_speaker import ROOM_RATE_HZ
from serve_app.transports.livekit_words import ERROR, error_body

log = logging.getLogger("antiphon.rooms")

ECHO_FLOOR = 16
"""Less than this a codec makes of silence (-66 dBFS)."""
ECHO_MS = 10
"""An echo is passed on in WebRTC's own pieces, which wait for nothing."""
READ_S = 1.0
"""Time for a client to read why it was refused, before the agent leaves."""


@dataclass(slots=True)
class Reserved:
    """A place taken for a room. `task` and `room` are there once the agent is on its way."""

    hosted: Hosted
    stay: Stay
    badge: Badge
    task: asyncio.Task[None] | None = None
    room: LiveKitRoom | None = None
    session: KeptSession | None = None
    dismissed: bool = False
    """Somebody wants this agent gone: whoever is in the room now gets no other one."""


class RoomAgents:
    """`on_ended` is called when a stay is over, while its place is still taken. `hang_up` puts a participant out of a
    room: a telephone whose call is over would stay on the line."""

    def __init__(
        self,
        host: CallHost,
        readiness: Readiness,
        call: CallOptions,
        livekit: LiveKitOptions,
        metronome: Metronome,
        hang_up: Callable[[str, str], Awaitable[None]],
        sessions: Sessions | None = None,
    ) -> None:
        self.stays: dict[str, Stay] = {}
        self.on_ended: list[Callable[[Ended], object]] = []
        self.on_seated: Callable[[], None] = lambda: None
        """A stay's caller has come: who it is now stands in it."""
        self._host = host
        self._readiness = readiness
        self._call = call
        self._livekit = livekit
        self._metronome = metronome
        self._hang_up = hang_up
        self._sessions = sessions or Sessions()
        self._tasks: set[asyncio.Task[None]] = set()
        keep_logs_native()
        let_go_late()

    def reserve(self, room: str, metadata: str = "", caller: str | None = None) -> Reserved | None:
        """A place for this room; None when there is none, or an agent of ours is there."""
        if room in self.stays or (hosted := self._host.admit()) is None:
            return None
        badge = Badge.new(self._livekit.agent_name, hosted.name)
        stay = Stay(room, hosted.name, badge.identity, metadata, caller)
        self.stays[room] = stay
        return Reserved(hosted, stay, badge)

    def cancel(self, reserved: Reserved) -> None:
        """Nobody will join: the place is free again."""
        self.stays.pop(reserved.stay.room, None)
        self._host.release(reserved.hosted)

    def begin(self, reserved: Reserved, ticket: Ticket) -> "asyncio.Future[None]":
        """Join, and answer whoever is there. The future is done when the agent can be seen in the room, and has the
        error when it cannot."""
        joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reserved.task = task = asyncio.create_task(self._live(reserved, ticket, joined))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return joined

    def dismiss(self, reserved: Reserved) -> None:
        """Leave this room, whatever is going on there."""
        reserved.dismissed = True
        if reserved.task is not None:  # not before it has begun: its end gives the place back
            asyncio.get_running_loop().call_soon(reserved.task.cancel)

    async def close(self) -> None:
        """Leave every room."""
        await asyncio.sleep(0)  # all have begun
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- one stay

    async def _live(self, reserved: Reserved, ticket: Ticket, joined: "asyncio.Future[None]") -> None:
        call_id.set(reserved.hosted.name)
        answered: str | None = None
        try:
            async with self._room(reserved, ticket) as room:
                joined.set_result(None)
                answered = await self._answer(reserved, room)
        except RoomLost as lost:
            log.warning("room %s: %s", reserved.stay.room, lost)
            if not joined.done():
                joined.set_exception(lost)
        except Exception:
            log.exception("room %s broke", reserved.stay.room)
        finally:
            if not joined.done():
                joined.set_exception(RoomLost("the room was left before it was joined"))
            joined.exception()  # not everybody who begins a stay waits for it
            if reserved.dismissed and reserved.room is not None:
                answered = reserved.room.line.seat.sid
            if reserved.session is not None:
                reserved.session.close(over=reserved.dismissed)
            for tell in self.on_ended:
                tell(Ended(reserved.stay, answered))
            self.cancel(reserved)

    @asynccontextmanager
    async def _room(self, reserved: Reserved, ticket: Ticket) -> AsyncIterator[LiveKitRoom]:
        options = self._livekit
        line = RoomLine(ticket, reserved.hosted.name, options.agent_name, self._metronome, options.clean_audio)
        reserved.room = room = LiveKitRoom(line, return_s=options.return_s)
        try:
            try:
                async with asyncio.timeout(options.connect_s):
                    await room.open()
            except TimeoutError as late:
                raise RoomLost(f"the room could not be joined within {options.connect_s:g} s") from late
            yield room
        finally:
            await room.close("goodbye")

    async def _answer(self, reserved: Reserved, room: LiveKitRoom) -> str | None:
        """The call. Returns the caller's sid if they may still be there and get no other agent."""
        metadata = reserved.stay.metadata
        await self._readiness.known()
        await room.show_listening()
        try:
            async with asyncio.timeout(self._livekit.caller_wait_s):
                await room.here.wait()
        except TimeoutError:
            log.info("nobody came within %g s", self._livekit.caller_wait_s)
            return None
        if room.over.is_set():
            return None
        defaults = CallSettings(instructions=self._call.instructions)
        try:
            choices = self._choices(metadata, room.line.caller_attributes(), defaults)
        except BadRequest as wrong:
            await self._refuse(room, wrong)
            return room.line.seat.sid
        room.choose = lambda attributes: self._choices(metadata, attributes, defaults).settings
        if choices.loopback:
            await _echo(room)
        else:
            await self._converse(reserved, room, choices.settings)
        return None if room.caller_left or room.line.lost or reserved.hosted.going else room.line.seat.sid

    async def _converse(self, reserved: Reserved, room: LiveKitRoom, settings: CallSettings) -> None:
        """The conversation begins, or goes on where another replica's agent left it."""
        hosted, identity = reserved.hosted, room.line.seat.identity or ""
        reserved.stay = self.stays[reserved.stay.room] = replace(reserved.stay, caller=identity)
        self.on_seated()
        reserved.session = session = await self._sessions.of_room(reserved.stay.room, identity)
        if session.past is not None:
            log.info("the conversation goes on: %d items of it are known", len(session.past.items))
        ended = await self._host.run(hosted, room, PacedOutbox(room), settings, session)
        session.close(over=ended is not None or not (hosted.cut or room.line.deserted))
        if ended is not None:
            await self._send_off(reserved.stay.room, room)

    async def _send_off(self, name: str, room: LiveKitRoom) -> None:
        """The agent has ended the call."""
        seat = room.line.seat
        if seat.by_phone and seat.identity is not None and not room.caller_left:
            try:
                await self._hang_up(name, seat.identity)
            except ServerGone as gone:
                log.warning("the telephone stays on the line: %s", gone)

    def _choices(self, metadata: str, attributes: dict[str, str], defaults: CallSettings) -> Choices:
        known = Known(self._host.directory.settle, self._call.allow_loopback)
        return choose(metadata, attributes, defaults, known)

    @staticmethod
    async def _refuse(room: LiveKitRoom, wrong: BadRequest) -> None:
        log.warning("refused a call: %s", wrong)
        assert room.line.teller is not None
        room.line.teller.set_attribute(ERROR, error_body(wrong.code, str(wrong), wrong.field))
        try:
            async with asyncio.timeout(READ_S):
                await room.over.wait()
        except TimeoutError:
            pass


async def _echo(room: LiveKitRoom) -> None:
    """A call without an agent: what the caller says comes back, for measuring the way there and back. Each sample is
    repeated rather than filtered, since a filter would add its own delay."""
    await room.microphone.listen_in(ECHO_MS)
    async for given in room.inputs():
        if isinstance(given, np.ndarray):
            loud = bool(np.abs(given).max(initial=0) > ECHO_FLOOR)
            room.line.speaker.pass_on(np.repeat(given, ROOM_RATE_HZ // SPEECH_RATE_HZ), loud=loud)
