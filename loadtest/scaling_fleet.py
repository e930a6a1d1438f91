"""Replicas of one model, and the requests that they work on or that wait for a place."""

import heapq
from collections import deque

import numpy as np

from loadtest.scaling_day import DAY_S, Day


class Fleet:
    """A queue with as many places as its replicas have: first come, first served. Time only goes forward.

    A replica is there `load_s` after it was asked for. One that is to go takes nothing new and ends what it has. A
    request that has waited for `patience_s` is given up, and its call with it.
    """

    def __init__(self, day: Day, *, places: int, load_s: float, patience_s: float, replicas: int) -> None:
        self._asked_s, self._work_s, self._call = day.asked_s.tolist(), day.work_s.tolist(), day.call.tolist()
        self._ends_s = day.ends_s
        self._calls_at = day.calls_at().tolist()
        self._places, self._load_s, self._patience_s = places, load_s, patience_s
        self.now_s = 0.0
        self.ready = replicas
        self.starts = 0
        self.gpu_s = 0.0
        self.waits_s: list[float] = []
        self.refused = self.cut = 0
        """Calls that were given up: at their first turn, or later."""
        self._loading: list[float] = []  # when each is ready, ascending
        self._next = 0
        self._waiting: deque[int] = deque()
        self._working: list[tuple[float, int]] = []  # a heap of (when it is done, which it is)
        self._lost: set[int] = set()
        self._answered: set[int] = set()
        self._lost_ends = [0] * (DAY_S + 2)
        self._lost_now = 0
        # Sums that say at any time how much has been done: of all that ended, and what those under way began with.
        self._worked_s = self._began_s = self._present_s = self._came_s = 0.0
        self._begins: dict[int, float] = {}

    @property
    def target(self) -> int:
        return self.ready + len(self._loading)

    @property
    def calls(self) -> int:
        """In progress."""
        return int(self._calls_at[int(self.now_s)]) - self._lost_now

    @property
    def busy_s(self) -> float:
        """Work done since the beginning."""
        return self._worked_s + len(self._working) * self.now_s - self._began_s

    @property
    def presence_s(self) -> float:
        """Requests under way or waiting, added up over the time since the beginning."""
        present = len(self._working) + len(self._waiting)
        return self._present_s + present * self.now_s - self._came_s

    def scale(self, target: int) -> None:
        """From now on there are to be so many. Those that are not there yet go first."""
        while target < self.target and self._loading:
            self._loading.pop()
        if target > self.target:
            self.starts += target - self.target
            self._loading += [self.now_s + self._load_s] * (target - self.target)
        elif target < self.ready:
            # Which of the replicas a request is on, is not followed: the one that goes has the longest, at worst.
            longest_s = max((done for done, _ in self._working), default=self.now_s) - self.now_s
            self.gpu_s += (self.ready - target) * longest_s
            self.ready = target

    def advance(self, until_s: int) -> None:
        """Let requests come, be worked on, and end, for one second."""
        self.gpu_s += self.target * (until_s - self.now_s)
        while self._loading and self._loading[0] <= self.now_s:
            self._loading.pop(0)
            self.ready += 1
        self._give_up()
        self._fill()
        asked_s, working = self._asked_s, self._working
        while True:
            comes_s = asked_s[self._next] if self._next < len(asked_s) else float("inf")
            done_s = working[0][0] if working else float("inf")
            if min(comes_s, done_s) >= until_s:
                break
            if done_s <= comes_s:
                self.now_s = done_s
                self._end()
            else:
                self.now_s = comes_s
                self._come()
        self._lost_now -= self._lost_ends[until_s]
        self.now_s = float(until_s)

    def _come(self) -> None:
        request = self._next
        self._next += 1
        if self._call[request] not in self._lost:
            self._came_s += self.now_s
            self._waiting.append(request)
            self._fill()

    def _fill(self) -> None:
        free = self.ready * self._places - len(self._working)
        while free > 0 and self._waiting:
            request = self._waiting.popleft()
            if self._call[request] in self._lost:
                self._leave(request)
                continue
            self.waits_s.append(self.now_s - self._asked_s[request])
            self._answered.add(self._call[request])
            self._began_s += self.now_s
            self._begins[request] = self.now_s
            heapq.heappush(self._working, (self.now_s + self._work_s[request], request))
            free -= 1

    def _end(self) -> None:
        done_s, request = heapq.heappop(self._working)
        began_s = self._begins.pop(request)
        self._began_s -= began_s
        self._worked_s += done_s - began_s
        self._leave(request)
        if self._waiting:
            self._fill()

    def _leave(self, request: int) -> None:
        self._came_s -= self._asked_s[request]
        self._present_s += self.now_s - self._asked_s[request]

    def _give_up(self) -> None:
        while self._waiting and self.now_s - self._asked_s[self._waiting[0]] > self._patience_s:
            request = self._waiting.popleft()
            self._leave(request)
            self._lose(self._call[request])

    def _lose(self, call: int) -> None:
        if call in self._lost:
            return
        self._lost.add(call)
        self.waits_s.append(self._patience_s)
        if call in self._answered:
            self.cut += 1
        else:
            self.refused += 1
        ends_s = int(np.ceil(self._ends_s[call]))
        if self.now_s < ends_s <= DAY_S:
            self._lost_now += 1
            self._lost_ends[ends_s] += 1
