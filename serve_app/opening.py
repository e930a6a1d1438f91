"""How much of an answer is written before it is heard: little, so that it is heard soon, but enough to go on with."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from serve_app.conversation.phrases import FIRST_WORDS

MOST_WORDS = 7
SHARED_WORDS = 7
"""To begin with, where there are other calls: models on a machine's cores need twice as long for each word when two are
answered, and an answer waits while the question of the next is read."""
TIGHT_S, AMPLE_S = 0.15, 0.3
"""Sound left when the second phrase comes: too little, and more than enough."""
SHARED_TIGHT_S, SHARED_AMPLE_S = 0.25, 0.5
"""The same where others may ask for something at any moment."""
LESS = 0.1
"""It is taken back more slowly than it was given: a silence within an answer is worse than a later one."""


class Words:
    """How many there must be, those of the first phrase among them, as far as is known."""

    def __init__(self, words: int = FIRST_WORDS, tight_s: float = TIGHT_S, ample_s: float = AMPLE_S) -> None:
        self._words = float(words)
        self._tight_s, self._ample_s = tight_s, ample_s

    def __int__(self) -> int:
        return round(self._words)

    def second_phrase_came(self, left_s: float) -> None:
        """So much of the first one's sound is left; infinite while nobody hears it, which says nothing."""
        if left_s < self._tight_s:
            self._words = min(MOST_WORDS, self._words + 1)
        elif self._ample_s < left_s < inf:
            self._words = max(FIRST_WORDS, self._words - LESS)


class Opening:
    """Of all calls of one process, whose answers are made by the same models on the same machines.

    A call that is alone and calls beside each other are two matters. Where models are quick it comes to be
    `FIRST_WORDS` for both: the first phrase is heard as soon as it sounds. It grows by a word each time that a voice
    fell silent after its first phrase, or nearly, as voices do where calls share cores.
    """

    def __init__(self) -> None:
        self._alone, self._shared = Words(), Words(SHARED_WORDS, SHARED_TIGHT_S, SHARED_AMPLE_S)
        self._calls = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """There is one more call while the block lasts."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    @property
    def words(self) -> Words:
        """For an answer that begins now, and to learn from it."""
        return self._alone if self._calls <= 1 else self._shared
