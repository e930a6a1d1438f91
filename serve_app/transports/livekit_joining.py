"""Joining a LiveKit room, without the trap in it: an attempt must not be cancelled."""

import asyncio
import logging
from dataclasses import dataclass

from livekit import rtc

log = logging.getLogger("antiphon.rooms")


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where to go, and as whom. `caller`: the identity of the one to answer; None: the first who is no agent.
    `instead_of`: the identity of an agent that died, and may still be listed. `room_sid`: of the room that is meant;
    joining one that was closed meanwhile makes another one of the same name."""

    url: str
    token: str
    caller: str | None = None
    instead_of: str | None = None
    room_sid: str | None = None


class RoomLost(Exception):
    """The room could not be joined, or there is another agent in it already. The message says which."""


class AlreadyAttended(RoomLost):
    """Another agent of ours is in the room."""


class Joining:
    """One attempt. Whoever waits for it may be cancelled; `end` then sees to it that the room is left again."""

    def __init__(self, room: rtc.Room, ticket: Ticket) -> None:
        self._room = room
        options = rtc.RoomOptions(auto_subscribe=False, single_peer_connection=False)
        self._connecting = asyncio.create_task(room.connect(ticket.url, ticket.token, options))

    async def done(self) -> None:
        """Raises RoomLost."""
        try:
            await asyncio.shield(self._connecting)
        except rtc.ConnectError as failed:
            raise RoomLost(f"the room cannot be joined: {failed}") from failed

    def end(self) -> None:
        if not self._connecting.done():
            task = asyncio.create_task(_leave(self._room, self._connecting))
            _abandoned.add(task)
            task.add_done_callback(_abandoned.discard)


_abandoned: set[asyncio.Task[None]] = set()
"""Of this process: ends of attempts to join that nobody waits for."""


async def _leave(room: rtc.Room, connecting: "asyncio.Task[None]") -> None:
    """As soon as it is joined. The attempt itself goes on: the native side, which may succeed, waits for the room to be
    taken, and when nobody takes it ends the whole process by SIGTERM."""
    await asyncio.wait([connecting])
    if not connecting.cancelled() and (failed := connecting.exception()) is not None:
        log.debug("the room was not joined: %s", failed)
    else:
        await room.disconnect()
