"""Who uses a replica's device next. Engines have no queues of their own: what reaches one may start at once.

The more urgent request goes first, and of equals the earlier one. A class of urgency is worth `STEP_S` of waiting, so
each request has one fixed rank, the time of its arrival plus so much for its class: whoever comes later than that
stays behind it, and nothing waits for ever.
"""

import asyncio
import itertools
from bisect import insort
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from deployments.errors import AtCapacity
from deployments.urgency import Priority, Urgency

STEP_S = 2.0
"""Longer than a queue is in good times, so that the classes keep their order; shorter than a caller's patience."""

Fate = Literal["started", "expired", "dropped", "refused"]
"""Begun; too late to be of use; not wanted any more; too many waited. All but the first cost the device nothing."""

Observer = Callable[[Priority, Fate, float], None]
"""Told the fate of each request, and the seconds that it waited."""


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """Of one replica, since its start. By priority: the requests by their fate, and how long those that were started
    have waited in all. Priorities that nothing had are left out."""

    running: int
    waiting: int
    requests: Mapping[str, Mapping[str, int]]
    waited_s: Mapping[str, float]


@dataclass(slots=True, eq=False)
class _Request:
    """`turn`, while it waits, gives True when it may start, False when it must leave."""

    rank: tuple[float, int]
    """Seconds, and a number that keeps equals in order."""
    number: int
    priority: Priority
    arrived_s: float
    expires_s: float
    call: str
    lane: str | None
    turn: asyncio.Future[bool]
    fate: Fate | None = None


class DeviceQueue:
    """Of one replica: at most `places` requests run and `max_waiting` wait. Belongs to one event loop.

    Requests of the same lane never run side by side. Nobody waits longer than `longest_s`.
    """

    def __init__(
        self, model: str, places: int, max_waiting: int, longest_s: float, observer: Observer | None = None
    ) -> None:
        self.fates: Counter[tuple[Priority, Fate]] = Counter()
        self.waited_s = dict.fromkeys(Priority, 0.0)
        """Of those that were started."""
        self._model = model
        self._places = places
        self._max_waiting = max_waiting
        self._longest_s = longest_s
        self._observer = observer
        self._running: set[_Request] = set()
        self._waiting: list[_Request] = []  # by rank
        self._numbers = itertools.count()

    @property
    def running(self) -> int:
        """Requests that use the device now."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Requests that wait for it."""
        return len(self._waiting)

    def count(self, fate: Fate) -> int:
        """Requests of every priority that met this fate."""
        return sum(number for (_, met), number in self.fates.items() if met == fate)

    def figures(self) -> QueueFigures:
        requests: dict[str, dict[str, int]] = {}
        for (priority, fate), number in sorted(self.fates.items()):
            requests.setdefault(priority.name.lower(), {})[fate] = number
        waited_s = {priority.name.lower(): round(waited_s, 3) for priority, waited_s in self.waited_s.items()}
        return QueueFigures(self.running, len(self._waiting), requests, {name: waited_s[name] for name in requests})

    @asynccontextmanager
    async def place(self, urgency: Urgency, lane: str | None = None) -> AsyncIterator["Place"]:
        """The device, from now until the block ends. Raises AtCapacity where that came too late, or too many wait."""
        me = self._request(urgency, lane)
        if urgency.wait_s is not None and urgency.wait_s <= 0:
            raise self._expired(me)
        if self.running < self._places and not self._is_busy(lane):  # then nobody waits who could start
            self._running.add(me)
            self._note(me, "started", 0.0)
        else:
            await self._wait(me)
            self._note(me, "started", self._since(me))
        try:
            yield Place(self, me)
        finally:
            if me in self._running:
                self._free(me)

    def promote(self, call: str) -> int:
        """What this call has asked for is wanted now: somebody waits for it. How many of its requests were waiting."""
        found = [waiting for waiting in self._waiting if waiting.call == call]
        for request in (*found, *(running for running in self._running if running.call == call)):
            request.priority, request.rank = Priority.FIRST_PHRASE, (request.arrived_s, request.number)
        if found:
            self._waiting.sort(key=_rank)
        return len(found)

    async def _give_way(self, me: _Request) -> None:
        if not self._waiting or self._waiting[0].rank > me.rank:
            return
        loop = asyncio.get_running_loop()
        me.turn, me.expires_s = loop.create_future(), loop.time() + self._longest_s
        self._running.discard(me)
        await self._wait(me)

    async def _wait(self, me: _Request) -> None:
        """Until it is given the device."""
        try:
            self._queue(me)
            async with asyncio.timeout_at(me.expires_s):
                may_start = await me.turn
        except BaseException as leaving:
            if me in self._running:
                self._free(me)  # it was given the device at the same moment
            if isinstance(leaving, TimeoutError):
                raise self._expired(me) from leaving
            self._note(me, "dropped", self._since(me))
            raise
        finally:
            if me in self._waiting:
                self._waiting.remove(me)
        if not may_start:
            self._note(me, "refused", self._since(me))
            raise AtCapacity(f"{self._model} has too many requests waiting that are more urgent")

    def _request(self, urgency: Urgency, lane: str | None) -> _Request:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        wait_s = self._longest_s if urgency.wait_s is None else min(urgency.wait_s, self._longest_s)
        number = next(self._numbers)
        rank = now_s + STEP_S * urgency.priority, number
        return _Request(rank, number, urgency.priority, now_s, now_s + wait_s, urgency.call, lane, loop.create_future())

    def _queue(self, me: _Request) -> None:
        """Where too many wait, the last of those that have not begun leaves."""
        insort(self._waiting, me, key=_rank)
        self._assign()
        if len(self._waiting) > self._max_waiting:
            last = next((request for request in reversed(self._waiting) if request.fate is None), None)
            if last is not None:
                self._waiting.remove(last)
                if not last.turn.done():
                    last.turn.set_result(False)

    def _is_busy(self, lane: str | None) -> bool:
        return lane is not None and any(request.lane == lane for request in self._running)

    def _free(self, me: _Request) -> None:
        self._running.discard(me)
        self._assign()

    def _assign(self) -> None:
        """Let start who can."""
        now_s = asyncio.get_running_loop().time()
        for waiting in [*self._waiting]:
            if self.running >= self._places:
                return
            if not waiting.turn.done() and waiting.expires_s > now_s and not self._is_busy(waiting.lane):
                self._waiting.remove(waiting)
                self._running.add(waiting)
                waiting.turn.set_result(True)

    def _expired(self, me: _Request) -> AtCapacity:
        waited_s = self._since(me)
        self._note(me, "expired", waited_s)
        return AtCapacity(f"{self._model} is busy: a request waited for {waited_s:.1f} s, and is of no use any more")

    def _since(self, me: _Request) -> float:
        return asyncio.get_running_loop().time() - me.arrived_s

    def _note(self, me: _Request, fate: Fate, waited_s: float) -> None:
        """The first one that it meets: who has begun and waits again has met theirs."""
        if me.fate is not None:
            return
        me.fate = fate
        self.fates[me.priority, fate] += 1
        if fate == "started":
            self.waited_s[me.priority] += waited_s
        if self._observer is not None:
            self._observer(me.priority, fate, waited_s)


class Place:
    """Of a request that has the device."""

    def __init__(self, queue: DeviceQueue, request: _Request) -> None:
        self._queue, self._request = queue, request

    async def give_way(self) -> None:
        """Let those that rank before it go first, and go on after them: for requests that are made in steps, and have
        a step to spare. It keeps its rank. Raises AtCapacity where that takes longer than anybody may wait."""
        await self._queue._give_way(self._request)


def _rank(waiting: _Request) -> tuple[float, int]:
    return waiting.rank
