"""Which models are in memory, and which may leave it: the accounts behind `residency`. Pure: no clock, no I/O.

    WAITING ─▶ MAKING_ROOM ─▶ LOADING ─▶ RESIDENT ─▶ DRAINING ─▶ UNLOADING ─▶ GONE
                                 └─▶ ABANDONED ─▶ GONE     (what was loaded when it failed goes by UNLOADING)

A copy is one model in memory, or on its way there or out. Of one model there may be several: while it is replaced,
the old copy serves its users to the end. Times are monotonic seconds, given by whoever asks.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from deployments.options import ResidencyOptions

T = TypeVar("T")  # a loaded model


class State(StrEnum):
    """Of a copy."""

    WAITING = "waiting"  # for its turn to load, and for room
    MAKING_ROOM = "making_room"  # room is promised to it; others are on their way out
    LOADING = "loading"
    ABANDONED = "abandoned"  # a load that nobody waits for any more, until it has ended
    RESIDENT = "resident"
    DRAINING = "draining"  # its users may finish; nobody else gets it
    UNLOADING = "unloading"
    GONE = "gone"


_NEXT = {
    State.WAITING: {State.MAKING_ROOM, State.GONE},
    State.MAKING_ROOM: {State.LOADING, State.GONE},
    State.LOADING: {State.RESIDENT, State.ABANDONED, State.UNLOADING, State.GONE},
    State.ABANDONED: {State.UNLOADING, State.GONE},
    State.RESIDENT: {State.DRAINING, State.UNLOADING},
    State.DRAINING: {State.UNLOADING},
    State.UNLOADING: {State.GONE},
    State.GONE: set[State](),
}
ARRIVING = {State.WAITING, State.MAKING_ROOM, State.LOADING}
LEAVING = {State.ABANDONED, State.UNLOADING}
IN_MEMORY = {State.LOADING, State.RESIDENT, State.DRAINING, *LEAVING}
"""Takes memory now, or may. These never exceed the limits: a load begins only when what makes room for it is gone."""
PROMISED = {State.MAKING_ROOM, State.LOADING, State.RESIDENT, State.DRAINING}
"""Will be in memory once everything that leaves has left. These never exceed the limits either, so that a copy that
was promised room gets it."""


@dataclass(eq=False, slots=True)
class Copy(Generic[T]):
    """One model in memory, or on its way. `users` counts those who wait for it, too; `model` is None until loaded."""

    id: str
    size_bytes: int
    used_at: float
    users: int = 0
    state: State = State.WAITING
    loaded_at: float = math.inf
    model: T | None = None
    failure: BaseException | None = None

    def move(self, state: State) -> None:
        """Raises RuntimeError for a step that the picture above does not show."""
        if state not in _NEXT[self.state]:
            raise RuntimeError(f"a copy of {self.id} cannot become {state}: it is {self.state}")
        self.state = state


@dataclass(slots=True)
class History:
    """What became of a model so far. `failures` are those in a row, and `retry_at` the end of the back-off."""

    loads: int = 0
    evictions: int = 0
    failures: int = 0
    failure: str | None = None
    retry_at: float = -math.inf


@dataclass(slots=True)
class Book(Generic[T]):
    """All copies, in the order in which they were asked for."""

    options: ResidencyOptions
    copies: list[Copy[T]] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    histories: defaultdict[str, History] = field(default_factory=lambda: defaultdict(History))

    def among(self, states: Collection[State], model_id: str | None = None) -> list[Copy[T]]:
        """The copies in one of these states, of one model if it is named."""
        return [copy for copy in self.copies if copy.state in states and model_id in (None, copy.id)]

    def only(self, states: Collection[State], model_id: str) -> Copy[T] | None:
        """The one copy of a model in these states, of which there is at most one at a time."""
        return next(iter(self.among(states, model_id)), None)

    # --- room

    def is_hopeless(self, copy: Copy[T]) -> bool:
        """Is there no room for it even without all that may go? What it replaces may not, until it is there."""
        staying = (other for other in self.among(PROMISED) if other.id in self.pinned or other.id == copy.id)
        return not self._fits([other for other in staying if other.state is not State.DRAINING], copy)

    def has_room(self, copy: Copy[T]) -> bool:
        """May it take its memory now?"""
        return self._fits(self.among(IN_MEMORY), copy)

    def victims(self, copy: Copy[T], now: float) -> Sequence[Copy[T]] | None:
        """What must leave for this one, longest unused first; None: it has to wait.

        Loads go in the order of arrival, but one that finds no room lets the next try: it may be refused at its
        deadline, while those behind it need not be.
        """
        loading = self.among({State.MAKING_ROOM, State.LOADING, State.ABANDONED})
        if len(loading) >= self.options.max_parallel_loads or self.among(LEAVING, copy.id):
            return None
        staying = self.among(PROMISED)
        idle = [other for other in staying if other.id != copy.id and self.is_evictable(other, now)]
        idle.sort(key=lambda other: other.used_at)
        for count in range(len(idle) + 1):
            if self._fits((other for other in staying if other not in idle[:count]), copy):
                return idle[:count]
        return None

    def _fits(self, others: Iterable[Copy[T]], copy: Copy[T]) -> bool:
        sizes = [other.size_bytes for other in others] + [copy.size_bytes]
        budget = self.options.budget_bytes
        return len(sizes) <= self.options.resident_cap and (budget is None or sum(sizes) <= budget)

    # --- time

    def expired(self, now: float) -> list[Copy[T]]:
        """What nobody has used for so long that it leaves without anyone needing the room."""
        return [copy for copy in self._idle() if now >= self._expires_at(copy)]

    def next_change_at(self, now: float) -> float:
        """When time alone will let a copy leave; infinity where it will not."""
        times = [self._expires_at(copy) for copy in self._idle()]
        if self.among({State.WAITING}):
            times += [end for copy in self._idle() if (end := self.protected_until(copy)) > now]
        return min(times, default=math.inf)

    def _idle(self) -> list[Copy[T]]:
        return [copy for copy in self.among({State.RESIDENT}) if not copy.users and copy.id not in self.pinned]

    def is_evictable(self, copy: Copy[T], now: float) -> bool:
        """May it leave for another one?"""
        return copy in self._idle() and now >= self.protected_until(copy)

    def protected_until(self, copy: Copy[T]) -> float:
        """Until then it makes way for no other model."""
        return copy.loaded_at + self.options.min_resident_s

    def _expires_at(self, copy: Copy[T]) -> float:
        return max(copy.used_at + self.options.ttl_s, self.protected_until(copy))
