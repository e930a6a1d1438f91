"""The room keeper, one in the cluster: sees to it that every room with a caller has an agent.

LiveKit sends a job that met only full workers, or whose agent died, to nobody else; and a token's dispatch acts only
when its room is made. So somebody has to look.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from typing import Any

from livekit.protocol.models import ParticipantInfo, Room

from deployments.logs import configure_logs
from deployments.options import LogOptions
from serve_app.options import LiveKitOptions
from serve_app.rooms.roll import Ended, FallSilent, Join, Order, Report, Roll, Unattended
from serve_app.rooms.server import LiveKitServer, ServerGone
from serve_app.transports.livekit_words import AGENT

log = logging.getLogger("antiphon.rooms")

FRESH_S = 2.0
"""A younger room's own dispatch is still on its way."""
RECHECK_S = 10.0
"""A room that did not want our agent is asked again after this."""
BACK_S = 0.25
"""A living replica whose line broke has opened another one by then."""
ORDERS_LIMIT = 1024
"""Orders that wait for one replica: more than it could ever host."""


class RoomKeeper:
    """The deployment `rooms`. Ingress replicas report to it, and hold a line on which it tells them what to do; when
    the line breaks for good, the replica is dead, and its rooms are given to others at once."""

    async def __init__(self, options: LiveKitOptions, logs: LogOptions) -> None:  # type: ignore[misc]
        configure_logs(logs)
        self._options = options
        self._server = LiveKitServer(options)
        self._roll = Roll()
        self._lines: dict[str, asyncio.Queue[Order]] = {}
        self._unwanted: dict[str, float] = {}
        self._errands: set[asyncio.Task[None]] = set()
        self._reachable = True
        self._sweeping = asyncio.create_task(self._sweep_for_ever())

    async def check_health(self) -> None:
        """Asked by Serve. Raises what ended the sweeping: then this replica is replaced."""
        if self._sweeping.done():
            self._sweeping.result()

    # --- what replicas say

    async def attend(self, report: Report) -> AsyncGenerator[Order, None]:
        """A replica's line: orders, for as long as it lives."""
        replica = report.replica
        line = self._lines[replica] = asyncio.Queue(ORDERS_LIMIT)
        self._roll.report(report)
        log.info("replica %s attends, %d calls", replica, len(report.calls))
        try:
            while True:
                yield await line.get()
        finally:
            if self._lines.get(replica) is line:
                del self._lines[replica]
                asyncio.get_running_loop().call_later(BACK_S, self._lost, replica)

    def _lost(self, replica: str) -> None:
        if replica in self._lines:
            return  # it is back: only the line had broken
        for stay in self._roll.gone(replica):
            log.warning("room %s lost its agent: replica %s is gone", stay.room, replica)
            self._place(Join(stay.room, stay.metadata, stay.caller, stay.identity))
            self._run_errand(self._server.remove(stay.room, stay.identity))

    async def report(self, report: Report) -> bool:
        """False: this replica does not attend."""
        attends = report.replica in self._lines
        if attends:
            self._roll.report(report)
        return attends

    async def ended(self, ended: Ended) -> None:
        self._roll.ended(ended)

    async def claim(self, room: str, replica: str) -> bool:
        """May this replica join the room? Not if one hosts it already."""
        return self._roll.claim(room, replica, time.monotonic())

    async def place(self, join: Join, full: str | None = None) -> bool:
        """Find a replica for this room, other than the one that is `full`. False: all are."""
        return self._roll.host(join.room, time.monotonic()) is not None or self._place(join, full)

    async def fall_silent(self, call: str) -> bool:
        """False: nobody hosts this call."""
        replica = self._roll.host_of_call(call)
        return replica is not None and self._send(replica, FallSilent(call))

    # --- what they are told

    def _place(self, join: Join, full: str | None = None) -> bool:
        now_s = time.monotonic()
        self._roll.unattended.setdefault(join.room, Unattended(join))  # until somebody reports it
        replica = self._roll.roomiest(now_s, full)
        if replica is None:
            return False
        log.info("room %s goes to replica %s", join.room, replica)
        return self._roll.claim(join.room, replica, now_s) and self._send(replica, join)

    def _send(self, replica: str, order: Order) -> bool:
        line = self._lines.get(replica)
        if line is None or line.full():
            return False
        line.put_nowait(order)
        return True

    def _run_errand(self, work: Coroutine[Any, Any, None]) -> None:
        async def run() -> None:
            try:
                await work
            except ServerGone as gone:
                log.debug("the LiveKit server did not do it: %s", gone)

        task = asyncio.create_task(run())
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)

    # --- the rounds

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._options.sweep_s)
            try:
                await self._sweep()
                self._reachable = True
            except ServerGone as gone:
                log.log(logging.WARNING if self._reachable else logging.DEBUG, "no LiveKit server: %s", gone)
                self._reachable = False

    async def _sweep(self) -> None:
        rooms = await self._server.rooms()
        names = {room.name for room in rooms}
        self._roll.forget_closed(names)
        self._unwanted = {room: until_s for room, until_s in self._unwanted.items() if room in names}
        for room in rooms:
            now_s = time.monotonic()
            if self._roll.host(room.name, now_s) is not None:  # the room's own count of people is 5 s late
                continue
            try:
                left = self._roll.unattended.get(room.name) or await self._wanted(room, now_s)
                join = None if left is None else await self._needed(room.name, left)
            except ServerGone as closed:  # this room, since we looked; else the next round finds out
                log.debug("room %s does not answer: %s", room.name, closed)
                continue
            if join is not None:
                self._place(join)

    async def _wanted(self, room: Room, now_s: float) -> Unattended | None:
        """A room that we know nothing of: does it want our agent?"""
        if time.time() - room.creation_time_ms / 1000 < FRESH_S or self._unwanted.get(room.name, 0.0) > now_s:
            return None
        name = self._options.agent_name
        metadata = await self._server.dispatch_metadata(room.name, name) if name else ""
        if metadata is None:
            self._unwanted[room.name] = now_s + RECHECK_S
            return None
        return Unattended(Join(room.name, metadata), self._roll.answered(room.name))

    async def _needed(self, room: str, left: Unattended) -> Join | None:
        """What to tell an agent where somebody is there to be answered, and nobody of ours who does. A dead agent is
        listed for some seconds. Where somebody else was answered already, the agent must know whom to look for."""
        people = sorted(await self._server.participants(room), key=lambda person: person.joined_at_ms)
        agents = {person.identity for person in people if self._is_ours(person)} - {left.join.instead_of}
        callers = [person for person in people if person.kind not in _NO_CALLERS]
        waiting = [person.identity for person in callers if person.sid not in left.answered]
        if agents or not waiting:
            return None
        caller = left.join.caller if left.join.caller in waiting else None
        return replace(left.join, caller=caller or (waiting[0] if len(waiting) < len(callers) else None))

    def _is_ours(self, person: ParticipantInfo) -> bool:
        """Attributes are anybody's to set; the kind is in the token."""
        ours = person.attributes.get(AGENT) == self._options.agent_name
        return ours and person.kind == ParticipantInfo.Kind.AGENT

    async def __del__(self) -> None:
        self._sweeping.cancel()
        await asyncio.gather(self._sweeping, *self._errands, return_exceptions=True)
        await self._server.close()


_NO_CALLERS = (ParticipantInfo.Kind.AGENT, ParticipantInfo.Kind.EGRESS, ParticipantInfo.Kind.INGRESS)
