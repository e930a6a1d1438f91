"""How many words an answer begins with: few, so that it is heard soon, but enough to last until more is made."""

from math import inf

from serve_app.conversation.phrases import FIRST_WORDS

MOST_WORDS = 7
TIGHT_S, AMPLE_S = 0.15, 0.3
"""Sound left when the second phrase comes: too little, and more than enough."""
LESS = 0.1
"""It is taken back more slowly than it was given: a silence within an answer is worse than a later one."""


class Opening:
    """Of all calls of one process, whose answers are made by the same models on the same machines.

    Where these are quick, or have one call alone, it stays at `FIRST_WORDS`. It grows by a word each time that a voice
    fell silent after its first phrase, or nearly, as voices do where calls share cores.
    """

    def __init__(self) -> None:
        self._words = float(FIRST_WORDS)

    @property
    def words(self) -> int:
        return round(self._words)

    def second_phrase_came(self, left_s: float) -> None:
        """So much of the first one's sound is left; infinite while nobody hears it, which says nothing."""
        if left_s < TIGHT_S:
            self._words = min(MOST_WORDS, self._words + 1)
        elif AMPLE_S < left_s < inf:
            self._words = max(FIRST_WORDS, self._words - LESS)
