"""Brings models into memory and takes them out: the tasks behind `residency`. What may move, its book says."""

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar, cast

from deployments.errors import ModelFailed
from deployments.options import ResidencyOptions
from deployments.residency_book import ARRIVING, Book, Copy, State
from deployments.residency_loader import Loader, one_line, take_out
from deployments.residency_status import occupants

T = TypeVar("T")  # a loaded model

log = logging.getLogger("antiphon.deployments")

TICK_S = 0.001
"""No timer is shorter: what is due a rounding error from now would be looked at over and over."""


class Mover(Generic[T]):
    """Owns the copies' tasks and one timer. `arrivals`: set once it is known whether a copy arrives or not."""

    def __init__(self, loader: Loader[T], options: ResidencyOptions, clock: Callable[[], float]) -> None:
        self.book = Book[T](options)
        self.arrivals: dict[Copy[T], asyncio.Event] = {}
        self.is_closing = False
        self.load_s: float | None = None  # what a load takes, by the last ones
        self._loader = loader
        self._options = options
        self._clock = clock
        self._loads: dict[Copy[T], asyncio.Task[None]] = {}
        self._unloads: set[asyncio.Task[None]] = set()
        self._departures: dict[Copy[T], asyncio.Event] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def new_copy(self, model_id: str) -> Copy[T]:
        return Copy(model_id, self._loader.size_bytes(model_id), used_at=self._clock())

    def order(self, copy: Copy[T]) -> None:
        """Have it loaded at the next `pump` at which that is possible. It must have a user by then."""
        self.book.copies.append(copy)
        self.arrivals[copy] = asyncio.Event()

    def take_over(self, copy: Copy[T], model: T) -> None:
        """It is in memory already. The book must have room for it."""
        for state in (State.MAKING_ROOM, State.LOADING):
            copy.move(state)
        self.book.copies.append(copy)
        copy.model = model
        self._arrived(copy)

    def leave(self, copy: Copy[T]) -> None:
        """It has one user less."""
        copy.users -= 1
        copy.used_at = self._clock()
        if copy.users:
            return
        if copy.state in ARRIVING:
            self._give_up(copy, ModelFailed("nobody waits for it any more"))
        elif copy.state is State.DRAINING:
            self._unload(copy)
        self.pump()

    def dismiss(self, copy: Copy[T]) -> None:
        """Nobody else gets it; it leaves with the last of its users."""
        if copy.state is State.RESIDENT:
            self._retire(copy)

    async def departed(self, copy: Copy[T]) -> None:
        """Wait until it is out of memory. No deadline: callers set theirs."""
        if copy.state is not State.GONE:
            await self._departures.setdefault(copy, asyncio.Event()).wait()

    def waiting(self) -> int:
        """Users whose copy has not arrived."""
        return sum(copy.users for copy in self.arrivals)

    async def close(self, deadline_s: float) -> tuple[str, ...]:
        """See `Residency.close`."""
        self.is_closing = True
        if self.book.copies:
            self._empty.clear()
        for copy in self.book.among(ARRIVING):
            self._give_up(copy, ModelFailed("this process is ending"))
        for copy in self.book.among({State.RESIDENT}):
            self._retire(copy)
        self.pump()
        try:
            async with asyncio.timeout(deadline_s):
                await self._empty.wait()
        except TimeoutError:
            log.warning("models are left in memory: %s", occupants(self.book, self._clock()))
        return tuple(copy.id for copy in self.book.copies)

    def pump(self) -> None:
        """Do what has become possible. To be called after every change; the timer calls it where time is the change."""
        book, now = self.book, self._clock()
        for copy in book.expired(now):
            self._evict(copy)
        for copy in book.among({State.WAITING}):
            if (victims := book.victims(copy, now)) is not None:
                copy.move(State.MAKING_ROOM)
                for victim in victims:
                    self._evict(victim)
        for copy in book.among({State.MAKING_ROOM}):
            if book.has_room(copy):
                self._load(copy)
        self._set_timer(book.next_change_at(now) - now)

    def _set_timer(self, after_s: float) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if math.isfinite(after_s):
            self._timer = asyncio.get_running_loop().call_later(max(TICK_S, after_s), self.pump)

    # --- in

    def _load(self, copy: Copy[T]) -> None:
        copy.move(State.LOADING)
        self._loads[copy] = asyncio.create_task(self._bring_in(copy))
        self._loads[copy].add_done_callback(partial(self._load_ended, copy))  # comes even if the task never begins
        late = asyncio.get_running_loop().call_later(self._options.load_timeout_s, self._load_late, copy)
        self._loads[copy].add_done_callback(lambda _: late.cancel())

    async def _bring_in(self, copy: Copy[T]) -> None:
        began = self._clock()
        copy.model = await self._loader.load(copy.id)
        await self._loader.warm_up(copy.model)
        took_s = self._clock() - began
        self.load_s = took_s if self.load_s is None else (self.load_s + took_s) / 2

    def _load_late(self, copy: Copy[T]) -> None:
        if copy.state is State.LOADING:
            late = ModelFailed(f"its load took longer than {self._options.load_timeout_s:g} s")
            self._count_failure(copy.id, late)
            self._give_up(copy, late)

    def _load_ended(self, copy: Copy[T], task: asyncio.Task[None]) -> None:
        del self._loads[copy]
        failure = ModelFailed("its load was cancelled") if task.cancelled() else task.exception()
        if failure is None:
            self._arrived(copy)
        else:
            if not task.cancelled():
                self._count_failure(copy.id, failure)
            self._settle(copy, failure)
            if copy.model is None:
                self._drop(copy)
            else:
                self._unload(copy)
        self.pump()

    def _arrived(self, copy: Copy[T]) -> None:
        past = self.book.histories[copy.id]
        past.loads += 1
        past.failures, past.failure, past.retry_at = 0, None, -math.inf
        if copy.state is State.ABANDONED:  # its load had ended before it could be cancelled
            self._unload(copy)
            return
        for old in self.book.among({State.RESIDENT}, copy.id):
            self._retire(old)
        copy.move(State.RESIDENT)
        copy.loaded_at = copy.used_at = self._clock()
        self._settle(copy)

    def _count_failure(self, model_id: str, why: BaseException) -> None:
        past, options = self.book.histories[model_id], self._options
        pause_s = min(options.longest_retry_s, options.first_retry_s * 2.0 ** min(past.failures, 60))
        past.failures += 1
        past.failure, past.retry_at = one_line(why), self._clock() + pause_s
        log.warning("%s could not be loaded: %s; the next try is in %.1f s", model_id, past.failure, pause_s)

    def _give_up(self, copy: Copy[T], why: Exception) -> None:
        """It arrives no more."""
        if copy.state is State.LOADING:
            copy.move(State.ABANDONED)
            self._loads[copy].cancel()
        else:
            self._drop(copy)
        self._settle(copy, why)

    def _settle(self, copy: Copy[T], failure: BaseException | None = None) -> None:
        """Those who wait are told, unless they have been."""
        if arrival := self.arrivals.pop(copy, None):
            copy.failure = failure
            arrival.set()

    # --- out

    def _evict(self, copy: Copy[T]) -> None:
        self.book.histories[copy.id].evictions += 1
        self._unload(copy)

    def _retire(self, copy: Copy[T]) -> None:
        """Nobody else gets it."""
        copy.move(State.DRAINING)
        if not copy.users:
            self._unload(copy)

    def _unload(self, copy: Copy[T]) -> None:
        copy.move(State.UNLOADING)
        task = asyncio.create_task(take_out(self._loader, copy.id, cast(T, copy.model), self._options))
        self._unloads.add(task)
        task.add_done_callback(partial(self._unload_ended, copy))

    def _unload_ended(self, copy: Copy[T], task: asyncio.Task[None]) -> None:
        self._unloads.remove(task)
        copy.model = None
        self._drop(copy)
        self.pump()

    def _drop(self, copy: Copy[T]) -> None:
        copy.move(State.GONE)
        self.book.copies.remove(copy)
        if departure := self._departures.pop(copy, None):
            departure.set()
        if not self.book.copies:
            self._empty.set()
