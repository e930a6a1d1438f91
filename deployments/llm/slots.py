"""Which session's prompt is kept where."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

ACTIVE_S = 60.0
"""A session that asked for nothing for longer is hardly missed, if its place is taken."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Whose prompts are in memory. `active`: how many of their `places` were used lately."""

    sessions: tuple[str, ...]
    active: int
    places: int

    def routing_stats(self) -> dict[str, Any]:
        """For `record_routing_stats`."""
        return {"sessions": self.sessions, "active_sessions": self.active, "session_places": self.places}


class Slots:
    """n places for prompts. A session comes back to its own; a new one takes the place unused for longest.

    A place serves one request at a time. The deployment lets in no more requests than there are places, and of a
    session one at a time, so that one is free for each; whoever comes past it waits in order. Belongs to one event
    loop.
    """

    def __init__(self, count: int) -> None:
        self._locks = [asyncio.Lock() for _ in range(count)]
        self._wanted = [0] * count  # requests that use or await each place
        self._used_at = [-math.inf] * count
        self._used: OrderedDict[int, str] = OrderedDict((slot, "") for slot in range(count))  # longest unused first

    @asynccontextmanager
    async def use(self, session_id: str) -> AsyncIterator[int]:
        """The session's place, from now until the block ends."""
        slot = self._choose(session_id)
        self._used[slot] = session_id
        self._used.move_to_end(slot)
        self._wanted[slot] += 1
        self._used_at[slot] = time.monotonic()
        try:
            async with self._locks[slot]:
                yield slot
        finally:
            self._wanted[slot] -= 1

    def kept(self) -> Kept:
        """In the order of their last use."""
        since = time.monotonic() - ACTIVE_S
        sessions = tuple(owner for owner in self._used.values() if owner)
        return Kept(sessions, sum(at > since for at in self._used_at), len(self._locks))

    @property
    def busy(self) -> int:
        """Places in use now."""
        return sum(lock.locked() for lock in self._locks)

    def _choose(self, session_id: str) -> int:
        for slot, owner in self._used.items():
            if owner == session_id:
                return slot
        # the least wanted; of those the one unused for longest, because min() keeps the first
        return min(self._used, key=lambda slot: self._wanted[slot])
