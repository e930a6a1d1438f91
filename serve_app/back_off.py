"""Are the models busy with turns that somebody waits for? Then nothing is done in advance for others.

Two things are asked, both measured in this process. Does a turn of another call wait, judged over and not yet heard?
If none does, nobody would gain. And do transcripts take much longer than they can? They are asked for all the time, by
partials and at pauses, so they show how busy the models' cores or GPU are, wherever those are. To count calls against
cores instead, one would have to know the cores of each deployment, and how well each model works on several at once.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from serve_app.conversation.timeline import now_s

BUSY = 2.0
"""So many times as long as at best: what one more request on the same core makes of it."""
FRESH_S = 2.0
"""Older times say nothing about now."""
LEAST_S = 0.03
"""A best time is taken for this long at least: twice next to nothing is still next to nothing."""
FORGETTING = 1.01
"""The best grows by this with each time measured: a lucky one does not count for ever."""


class BackOff:
    """Of all calls of one process, each known by its name. `clock_s` is read for every transcript."""

    def __init__(self, clock_s: Callable[[], float] = now_s) -> None:
        self._clock_s = clock_s
        self._waiting: set[str] = set()
        self._best_s: dict[int, float] = {}
        self._recent: deque[tuple[float, float]] = deque(maxlen=8)  # when, and how many times as long as the best
        self._asked: dict[object, tuple[float, int]] = {}
        self._held: dict[object, tuple[str, Callable[[], None]]] = {}

    # --- turns

    @property
    def waiting(self) -> int:
        """Calls whose caller's turn is over and whose answer is not heard yet."""
        return len(self._waiting)

    def waits(self, call: str) -> None:
        """A turn of this call is over, and its answer is wanted."""
        self._waiting.add(call)

    def answered(self, call: str) -> None:
        """It is heard, or will not come."""
        self._waiting.discard(call)
        for held, resume in list(self._held.values()):
            if not self.busy_for(held):
                resume()

    # --- models

    @contextmanager
    def transcribing(self, audio_s: float) -> Iterator[None]:
        """The ASR is asked for the words in so much audio while the block lasts."""
        key, began_s = object(), self._clock_s()
        length = math.ceil(math.log2(max(audio_s, 1.0)))  # compared with others of about that length
        self._asked[key] = began_s, length
        try:
            yield
            self._took(self._clock_s() - began_s, length)
        finally:
            del self._asked[key]

    def _took(self, took_s: float, length: int) -> None:
        self._best_s[length] = min(took_s, FORGETTING * self._best_s.get(length, took_s))
        self._recent.append((self._clock_s(), self._times(took_s, length)))

    def _times(self, took_s: float, length: int) -> float:
        best_s = self._best_s.get(length)
        return 0.0 if best_s is None else took_s / max(best_s, LEAST_S)

    def slowness(self) -> float:
        """How many times as long as at best transcripts take now; 0: not known. One under way counts as it stands."""
        now = self._clock_s()
        recent = [times for at_s, times in self._recent if now - at_s <= FRESH_S]
        asked = [self._times(now - began_s, length) for began_s, length in self._asked.values()]
        return max([*asked, median(recent or [0.0])])

    # --- so

    def busy_for(self, call: str) -> bool:
        """Is nothing to be done in advance for this call?"""
        return bool(self._waiting - {call}) and self.slowness() >= BUSY

    @contextmanager
    def told_when_calm(self, call: str, resume: Callable[[], None]) -> Iterator[None]:
        """While the block lasts, `resume` is called when a turn is answered and `busy_for` holds no more."""
        key = object()
        self._held[key] = call, resume
        try:
            yield
        finally:
            del self._held[key]
