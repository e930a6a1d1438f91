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
from dataclasses import dataclass, replace
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
class _Waiting:
    """Somebody's place in the queue. `turn` gives True when they may start, False when they must leave."""

    rank: tuple[float, int]
    """Seconds, and a number that keeps equals in order."""
    number: int
    priority: Priority
    arrived_s: float
    expires_s: float
    call: str
    lane: str | None
    turn: asyncio.Future[bool]


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
        self._running = 0
        self._busy_lanes: set[str] = set()
        self._waiting: list[_Waiting] = []  # by rank
        self._numbers = itertools.count()

    @property
    def running(self) -> int:
        """Requests that use the device now."""
        return self._running

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
        return QueueFigures(self._running, len(self._waiting), requests, {name: waited_s[name] for name in requests})

    @asynccontextmanager
    async def place(self, urgency: Urgency, lane: str | None = None) -> AsyncIterator["Place"]:
        """The device, from now until the block ends. Raises AtCapacity where that came too late, or too many wait."""
        if urgency.wait_s is not None and urgency.wait_s <= 0:
            raise self._expired(urgency.priority, 0.0)
        if self._running < self._places and lane not in self._busy_lanes:  # then nobody waits who could start
            self._take(lane)
            self._note(urgency.priority, "started", 0.0)
        else:
            me = await self._wait(urgency, lane)
            self._note(me.priority, "started", self._since(me))
        place = Place(self, urgency, lane)
        try:
            yield place
        finally:
            if place.held:
                self._free(lane)

    def promote(self, call: str) -> int:
        """What waits for this call is wanted now: somebody waits for it. How many requests that were."""
        found = [waiting for waiting in self._waiting if waiting.call == call]
        for waiting in found:
            waiting.priority, waiting.rank = Priority.FIRST_PHRASE, (waiting.arrived_s, waiting.number)
        if found:
            self._waiting.sort(key=_rank)
        return len(found)

    async def _wait(self, urgency: Urgency, lane: str | None) -> _Waiting:
        """Until it is given the device."""
        me = self._queue(urgency, lane)
        try:
            async with asyncio.timeout_at(me.expires_s):
                may_start = await me.turn
        except BaseException as leaving:
            if me.turn.done() and not me.turn.cancelled() and me.turn.result():
                self._free(lane)  # it was given the device at the same moment
            if isinstance(leaving, TimeoutError):
                raise self._expired(me.priority, self._since(me)) from leaving
            self._note(me.priority, "dropped", self._since(me))
            raise
        finally:
            if me in self._waiting:
                self._waiting.remove(me)
        if not may_start:
            self._note(me.priority, "refused", self._since(me))
            raise AtCapacity(f"{self._model} has too many requests waiting that are more urgent")
        return me

    def _queue(self, urgency: Urgency, lane: str | None) -> _Waiting:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        wait_s = self._longest_s if urgency.wait_s is None else min(urgency.wait_s, self._longest_s)
        number = next(self._numbers)
        rank = now_s + STEP_S * urgency.priority, number
        me = _Waiting(rank, number, urgency.priority, now_s, now_s + wait_s, urgency.call, lane, loop.create_future())
        insort(self._waiting, me, key=_rank)
        if len(self._waiting) > self._max_waiting:
            last = self._waiting.pop()
            if not last.turn.done():
                last.turn.set_result(False)
        return me

    def _take(self, lane: str | None) -> None:
        self._running += 1
        if lane is not None:
            self._busy_lanes.add(lane)

    def _free(self, lane: str | None) -> None:
        self._running -= 1
        if lane is not None:
            self._busy_lanes.discard(lane)
        now_s = asyncio.get_running_loop().time()
        for waiting in [*self._waiting] if self._waiting else ():
            if self._running >= self._places:
                return
            if not waiting.turn.done() and waiting.expires_s > now_s and waiting.lane not in self._busy_lanes:
                self._waiting.remove(waiting)
                self._take(waiting.lane)
                waiting.turn.set_result(True)

    def _since(self, waiting: _Waiting) -> float:
        return asyncio.get_running_loop().time() - waiting.arrived_s

    def _expired(self, priority: Priority, waited_s: float) -> AtCapacity:
        self._note(priority, "expired", waited_s)
        return AtCapacity(f"{self._model} is busy: a request waited for {waited_s:.1f} s, and is of no use any more")

    def _note(self, priority: Priority, fate: Fate, waited_s: float) -> None:
        self.fates[priority, fate] += 1
        if fate == "started":
            self.waited_s[priority] += waited_s
        if self._observer is not None:
            self._observer(priority, fate, waited_s)


class Place:
    """Of a request that has the device."""

    def __init__(self, queue: DeviceQueue, urgency: Urgency, lane: str | None) -> None:
        self.held = True
        self._queue, self._urgency, self._lane = queue, urgency, lane

    async def give_way(self) -> None:
        """Let those that are more urgent go first, and go on after them: for requests that are made in steps, and have
        a step to spare. Raises AtCapacity where too many wait by then, or it lasts too long."""
        if any(waiting.priority < self._urgency.priority for waiting in self._queue._waiting):
            self.held = False
            self._queue._free(self._lane)
            await self._queue._wait(replace(self._urgency, wait_s=None), self._lane)
            self.held = True


def _rank(waiting: _Waiting) -> tuple[float, int]:
    return waiting.rank
