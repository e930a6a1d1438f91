"""What is in memory, for people and for routing."""

import math
from dataclasses import dataclass
from typing import Any, TypeVar

from deployments.residency_book import ARRIVING, IN_MEMORY, PROMISED, Book, Copy, State

T = TypeVar("T")  # a loaded model


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A copy of a model, or one of which there is none since its load failed.

    `state`: a `State`, or "failed". `last_used_s`: since its last user left; 0 while there are any. `retry_after_s`:
    until a failed one is loaded again for who asks. `loads` and `evictions` are the model's, over all its copies.
    """

    id: str
    state: str
    users: int = 0
    pinned: bool = False
    size_bytes: int = 0
    last_used_s: float = 0.0
    loads: int = 0
    evictions: int = 0
    failure: str | None = None
    retry_after_s: float = 0.0


def statuses(book: Book[T], now: float) -> tuple[ModelStatus, ...]:
    """All copies, in the order in which they were asked for; then the models that failed."""
    known = {copy.id for copy in book.copies}
    failed = [id for id, past in book.histories.items() if past.failure and id not in known]
    return (*(_of_copy(book, copy, now) for copy in book.copies), *(_of_failed(book, id, now) for id in failed))


def routing_stats(book: Book[T]) -> dict[str, Any]:
    """For a deployment's `record_routing_stats`: ids that are in memory, and those that soon will be."""
    here, soon = ({copy.id for copy in book.among(states)} for states in ({State.RESIDENT}, ARRIVING))
    return {"resident": sorted(here), "arriving": sorted(soon - here)}


def room_stats(book: Book[T], now: float) -> dict[str, Any]:
    """Which models will stay, how many of any size could come, how many may go, and for how long the next of those has
    not been used."""
    staying, budget = book.among(PROMISED), book.options.budget_bytes
    room = book.options.resident_cap - len(staying)
    if budget is not None and (largest := max((copy.size_bytes for copy in staying), default=0)):
        room = min(room, (budget - sum(copy.size_bytes for copy in staying)) // largest)
    idle = [now - copy.used_at for copy in staying if book.is_evictable(copy, now)]
    return {
        "pinned": sorted({copy.id for copy in staying} & book.pinned),
        "room": max(0, room),
        "evictable": len(idle),
        "idle_s": _roughly(max(idle, default=0.0)),
    }


def _roughly(seconds: float) -> float:
    """A power of two, or less than one: what changes all the time would be sent to everybody all the time."""
    return 0.0 if seconds < 1 else 2.0 ** min(10, int(math.log2(seconds)))


def occupants(book: Book[T], now: float) -> str:
    """Who takes the room: "joe (pinned), amy (in use by 2), kim (stays for 80 s), bob (loading)"."""
    return ", ".join(f"{copy.id} ({_why(book, copy, now)})" for copy in book.among(IN_MEMORY)) or "nothing"


def _why(book: Book[T], copy: Copy[T], now: float) -> str:
    if copy.state is not State.RESIDENT:
        return copy.state
    if copy.id in book.pinned:
        return "pinned"
    if copy.users:
        return f"in use by {copy.users}"
    left_s = book.protected_until(copy) - now
    return f"stays for {left_s:.0f} s" if left_s > 0 else "idle"


def _of_copy(book: Book[T], copy: Copy[T], now: float) -> ModelStatus:
    past = book.histories[copy.id]
    return ModelStatus(
        id=copy.id,
        state=copy.state,
        users=copy.users,
        pinned=copy.id in book.pinned,
        size_bytes=copy.size_bytes,
        last_used_s=0.0 if copy.users else now - copy.used_at,
        loads=past.loads,
        evictions=past.evictions,
    )


def _of_failed(book: Book[T], model_id: str, now: float) -> ModelStatus:
    past = book.histories[model_id]
    return ModelStatus(
        id=model_id,
        state="failed",
        users=0,
        pinned=model_id in book.pinned,
        size_bytes=0,
        last_used_s=0.0,
        loads=past.loads,
        evictions=past.evictions,
        failure=past.failure,
        retry_after_s=max(0.0, past.retry_at - now),
    )
