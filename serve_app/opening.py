"""How many words an answer begins with: few, so that it is heard soon, but enough to last until more is made."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf

from serve_app.conversation.phrases import FIRST_WORDS

SHARED_WORDS = 5
"""To begin with, where other answers are written meanwhile: models on a machine's cores then need twice as long for
each word, and an answer waits while the question of the next is read."""
MOST_WORDS = 7
TIGHT_S, AMPLE_S = 0.15, 0.3
"""Sound left when the second phrase comes: too little, and more than enough."""
LESS = 0.1
"""It is taken back more slowly than it was given: a silence within an answer is worse than a later one."""


class Opening:
    """Of all calls of one process, whose answers are made by the same models on the same machines.

    An answer that is written alone and one that others are written beside are two matters. Where models are quick it
    comes to be `FIRST_WORDS` for both. It grows by a word each time that a voice fell silent after its first phrase, or
    nearly, as voices do where calls share cores.
    """

    def __init__(self) -> None:
        self._alone, self._shared = Words(FIRST_WORDS), Words(SHARED_WORDS)
        self._written = 0

    @contextmanager
    def writing(self) -> Iterator["Words"]:
        """An answer is written while the block lasts. Gives what it should begin with, and learns from it."""
        self._written += 1
        try:
            yield self._alone if self._written == 1 else self._shared
        finally:
            self._written -= 1


class Words:
    """How many, as far as is known."""

    def __init__(self, words: int) -> None:
        self._words = float(words)

    def __int__(self) -> int:
        return round(self._words)

    def second_phrase_came(self, left_s: float) -> None:
        """So much of the first one's sound is left; infinite while nobody hears it, which says nothing."""
        if left_s < TIGHT_S:
            self._words = min(MOST_WORDS, self._words + 1)
        elif AMPLE_S < left_s < inf:
            self._words = max(FIRST_WORDS, self._words - LESS)
