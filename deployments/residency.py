"""Which models are in memory: loaded when somebody needs them, kept while it pays, never taken from who uses them.

    async with residency.use("piper-joe") as voice:   # loads it, or joins the load under way, or is refused
        ...                                           # it stays for as long as the block runs

What it promises:
- A model in use is never unloaded. Cap and budget are never exceeded, not even while one model makes way for another.
- A model is loaded once, however many wait. Who stops waiting stops nobody else; the last one to stop ends the load.
- Room is made by what was longest unused, never by a pinned model, nor by one that was loaded less than
  `min_resident_s` ago: models that take turns in memory serve nobody. A request that finds no room within its
  deadline is refused with AtCapacity, which says who is in the way.
- A load that fails, fails for all who wait. The next one is let through after a pause that doubles each time.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar, cast

from deployments.errors import AntiphonError, AtCapacity, BadRequest, ModelFailed
from deployments.options import ResidencyOptions
from deployments.residency_book import ARRIVING, Copy, State
from deployments.residency_loader import Loader, one_line
from deployments.residency_mover import Mover
from deployments.residency_status import ModelStatus, occupants, room_stats, routing_stats, statuses

__all__ = ["Loader", "ModelStatus", "Residency"]

T = TypeVar("T")  # a loaded model


class Residency(Generic[T]):
    """The models of one process, on one event loop. `clock`: monotonic seconds."""

    def __init__(
        self, loader: Loader[T], options: ResidencyOptions, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        self._clock = clock
        self._mover = Mover(loader, options, clock)
        self._book = self._mover.book

    @asynccontextmanager
    async def use(self, model_id: str, *, wait_s: float | None = None) -> AsyncIterator[T]:
        """The model, for as long as the block runs. `wait_s`: how long it may take to be there; None: as configured.

        Raises AtCapacity (no room, or too many wait), ModelFailed (it cannot be loaded, or not in time), and what
        `Loader.size_bytes` raises.
        """
        copy = self._book.only({State.RESIDENT}, model_id) or self._arriving(model_id)
        async with self._held(copy, wait_s):
            yield cast(T, copy.model)

    async def preload(self, model_id: str, *, wait_s: float | None = None) -> None:
        """Have it in memory, where it stays for `min_resident_s` at least. Raises what `use` raises."""
        async with self.use(model_id, wait_s=wait_s):
            pass

    async def replace(self, model_id: str, *, wait_s: float | None = None) -> None:
        """Load it anew: who comes after that gets the new copy, and the old one leaves with the last of its users.

        There must be room for both. Raises what `use` raises; then the old one stays. A model that is not in memory is
        loaded anew by its next user anyway.
        """
        if earlier := self._book.only(ARRIVING, model_id):  # may have read already what is to be replaced
            async with self._held(earlier, wait_s):
                pass
        if self._book.only({State.RESIDENT}, model_id):
            async with self._held(self._arriving(model_id), wait_s):
                pass

    async def unload(self, model_id: str, *, wait_s: float = 0.0) -> None:
        """Take it out of memory. Who uses it may finish: with `wait_s` nobody else gets it from now on, and its last
        user is waited for, so long; with 0 a model in use stays.

        Raises BadRequest for a pinned one, AtCapacity where somebody uses it still, after a wait it leaves with them;
        or where it is being loaded, for then somebody wants it.
        """
        if model_id in self._book.pinned:
            raise BadRequest(f"{model_id} is pinned: unpin it first", field="model")
        if coming := self._book.only(ARRIVING, model_id):
            raise AtCapacity(f"{model_id} is being loaded for {coming.users} who wait")
        copies = self._book.among({State.RESIDENT, State.DRAINING}, model_id)
        users = sum(copy.users for copy in copies)
        if users and not wait_s:
            raise AtCapacity(f"{model_id} is in use by {users}")
        for copy in copies:
            self._mover.dismiss(copy)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s or self._options.unload_timeout_s):
                for copy in copies:
                    await self._mover.departed(copy)
        if users := sum(copy.users for copy in copies if copy.state is not State.GONE):
            raise AtCapacity(f"{model_id} is in use by {users} after {wait_s:g} s; it leaves with the last of them")

    def adopt(self, model_id: str, model: T, *, pin: bool = True) -> None:
        """Take over a model that was loaded and warmed elsewhere. Needs no running loop.

        Raises AtCapacity where there is no room for it, and what `Loader.size_bytes` raises.
        """
        copy = self._mover.new_copy(model_id)
        if not self._book.has_room(copy):
            raise self._no_room(copy)
        if pin:
            self._book.pinned.add(model_id)
        self._mover.take_over(copy, model)

    def pin(self, model_id: str) -> None:
        """Once it is in memory it stays, used or not."""
        self._book.pinned.add(model_id)

    def unpin(self, model_id: str) -> None:
        self._book.pinned.discard(model_id)
        self._mover.pump()

    async def close(self, deadline_s: float) -> tuple[str, ...]:
        """Load nothing more, and unload everything, what is used when its users leave.

        Returns what is still in memory at the deadline: to take a model from its users might bring the process down.
        """
        return await self._mover.close(deadline_s)

    # --- what others see

    def snapshot(self) -> tuple[ModelStatus, ...]:
        """Every copy, and the models whose last load failed."""
        return statuses(self._book, self._clock())

    def routing_stats(self) -> dict[str, Any]:
        """For a deployment's `record_routing_stats`: `{"resident": [ids], "arriving": [ids]}`."""
        return routing_stats(self._book)

    def room_stats(self) -> dict[str, Any]:
        """The same: `pinned`, `room`, `evictable`, `idle_s` and, once one was loaded, `load_s` of
        `cluster.router_told`."""
        load_s = self._mover.load_s
        told = room_stats(self._book, self._clock())
        return told if load_s is None else {**told, "load_s": float(f"{load_s:.2g}")}

    # --- those who wait

    def _arriving(self, model_id: str) -> Copy[T]:
        """The copy that is on its way; a new one where there is none."""
        if self._mover.is_closing:
            raise ModelFailed(f"{model_id} is not loaded any more: this process is ending")
        if (waiting := self._mover.waiting()) >= self._options.max_waiting:
            raise AtCapacity(f"{waiting} requests wait for models already, {model_id} must wait until there are fewer")
        return self._book.only(ARRIVING, model_id) or self._ordered(model_id)

    def _ordered(self, model_id: str) -> Copy[T]:
        now, past = self._clock(), self._book.histories.get(model_id)
        if past and now < past.retry_at:
            pause = f"it is not tried again for {past.retry_at - now:.1f} s"
            raise ModelFailed(f"{model_id} could not be loaded: {past.failure}; {pause}")
        copy = self._mover.new_copy(model_id)
        if self._book.is_hopeless(copy):
            raise self._no_room(copy)
        self._mover.order(copy)
        return copy

    @asynccontextmanager
    async def _held(self, copy: Copy[T], wait_s: float | None) -> AsyncIterator[None]:
        """It has one more user. Raises where it does not arrive."""
        copy.users += 1
        try:
            if arrival := self._mover.arrivals.get(copy):
                self._mover.pump()
                await self._arrive(copy, arrival, self._options.wait_s if wait_s is None else wait_s)
            yield
        finally:
            self._mover.leave(copy)

    async def _arrive(self, copy: Copy[T], arrival: asyncio.Event, wait_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await arrival.wait()
        if copy.failure:
            raise ModelFailed(f"{copy.id} cannot be loaded: {one_line(copy.failure)}") from copy.failure
        if not arrival.is_set():
            raise self._late(copy, wait_s)

    def _late(self, copy: Copy[T], wait_s: float) -> AntiphonError:
        if copy.state is State.LOADING:
            return ModelFailed(f"{copy.id} is not loaded after {wait_s:g} s")
        return self._no_room(copy)

    def _no_room(self, copy: Copy[T]) -> AtCapacity:
        now = self._clock()
        again_s = self._book.next_change_at(now) - now
        return AtCapacity(
            f"no room for {copy.id}: in memory are {occupants(self._book, now)}",
            retry_after_s=max(1.0, again_s) if math.isfinite(again_s) else 1.0,
        )
