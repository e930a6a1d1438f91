"""Sound of an answer that is made and not heard yet, by the clock: when will the voice fall silent?"""

from collections.abc import Callable
from math import inf

WORTH = 5.0
"""A phrase is given to the TTS when there is sound left for so many times what the last one took to begin: where calls
share a busy machine, what comes before it takes as long again."""
LEAST_S = 0.2
"""Left, and less is late in any case: for the words' way to the TTS, and its sound's way back."""


class Supply:
    """Of one answer. Nothing runs out before it is heard. A pause is not known here; then nothing is made either."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._made_s = 0.0
        self._since_s: float | None = None
        self._took_s = 0.0
        self._wanted = False

    def want(self) -> None:
        """It is heard from now on, or from its first sound on."""
        self._wanted = True
        self._start()

    def took(self, seconds: float) -> None:
        """From a phrase's text to its first sound."""
        self._took_s = seconds

    def add(self, seconds: float) -> None:
        """More sound. What comes too late is heard when it comes."""
        if self._since_s is not None:
            self._since_s = max(self._since_s, self._clock() - self._made_s)
        self._made_s += seconds
        self._start()

    def _start(self) -> None:
        if self._since_s is None and self._wanted and self._made_s:
            self._since_s = self._clock()

    @property
    def left_s(self) -> float:
        """Until the voice falls silent; infinite while nothing is heard."""
        return inf if self._since_s is None else max(0.0, self._made_s - (self._clock() - self._since_s))

    @property
    def lasts_s(self) -> float:
        """Until it runs out; infinite while nothing is heard."""
        return max(0.0, self.left_s - self._lead_s)

    @property
    def is_late(self) -> bool:
        """Whatever is made now comes too late, or hardly in time."""
        return self.left_s < LEAST_S

    @property
    def runs_out(self) -> bool:
        """Too soon for a phrase that is begun later."""
        return self.left_s < self._lead_s

    @property
    def _lead_s(self) -> float:
        return max(LEAST_S, WORTH * self._took_s)
