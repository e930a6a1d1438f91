"""How urgent a request is: what it is for, and how long it may wait. It goes beside the contracts, not through them:
engines never see it, so that whoever adds one need not know of it.

A call says so around what it asks for (`with urgent(...)`); the remotes send along what holds where they are called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """What a request is for; the smaller goes first."""

    FIRST_PHRASE = 0
    """A caller waits in silence: for the answer's first phrase, or for what comes before it, which is their turn's
    words and whether it is over."""
    LATER_PHRASE = 1
    """Of an answer that is heard already, or what nobody said anything about."""
    PARTIAL = 2
    """Words of somebody who still speaks."""
    SPECULATION = 3
    """May be of no use: an answer to a turn that may go on, prompts read in advance."""
    HOUSEKEEPING = 4
    """Nobody waits: sentences that are kept."""


@dataclass(frozen=True, slots=True)
class Urgency:
    """Of one request. `wait_s`: it is of no use when it has not begun so much later, counted from its arrival, for the
    clocks of two hosts differ; None: the model's own deadline. `call`: under this name it can be promoted."""

    priority: Priority = Priority.LATER_PHRASE
    wait_s: float | None = None
    call: str = ""


_UNSAID = Urgency()
_current: ContextVar[Urgency] = ContextVar("urgency", default=_UNSAID)


def current_urgency() -> Urgency:
    """Of what is asked here and now."""
    return _current.get()


@contextmanager
def urgent(priority: Priority, wait_s: float | None = None, call: str = "") -> Iterator[None]:
    """What is asked in the block, and in tasks that begin in it, is so urgent.

    Not to be held open over a `yield` of an async generator: its reader would see it.
    """
    token = _current.set(Urgency(priority, wait_s, call))
    try:
        yield
    finally:
        _current.reset(token)
