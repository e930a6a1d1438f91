"""What a caller has surely said, from one transcript of their unfinished speech after the other. Pure.

Local agreement (Liu et al. 2020, "Low-latency sequence-to-sequence speech recognition and translation by partial
hypothesis selection"; Machacek et al. 2023 for Whisper): the words at the beginning that two transcripts in a row have
in common will mostly stay, but for the last.
"""

_SIGNS = ".,;:?!…\"'“”‘’()-"


def _bare(word: str) -> str:
    """As it sounds: Whisper changes its mind about signs and capitals more than about words."""
    return word.strip(_SIGNS).lower()


class StableText:
    """Grows by whole words and takes none back.

    The last word of a transcript may be only half heard ("Tell me along" of "a long story"), and the next transcript,
    a fifth of a second later, often mistakes it for the same: it becomes stable when there is a word after it.
    """

    def __init__(self) -> None:
        self._words: list[str] = []
        self._before: list[str] = []
        self._edge: list[str] = []
        self._most = 0

    @property
    def text(self) -> str:
        """Without a sign at its end: that the sentence is over, nobody knows yet."""
        return " ".join(self._words).rstrip(_SIGNS)

    @property
    def likely(self) -> str:
        """The stable words, and the last one that two transcripts had in common."""
        return " ".join([*self._words, *self._edge]).rstrip(_SIGNS)

    @property
    def latest(self) -> str:
        """The stable words, and what the last transcript has after them: a guess that may change."""
        known = len(self._words)
        guess = self._before[known:] if _agreed(self._words, self._before) == known else []
        return " ".join(filter(None, [self.text, *guess])).rstrip(_SIGNS)

    def push(self, transcript: str) -> int:
        """The transcript of all that was said so far. Returns how many more words are likely than ever before."""
        words, known = transcript.split(), len(self._words)
        agreed, whole = _agreed(self._before, words), max(0, len(self._before) - 1)
        self._before, self._edge = words, []
        if _agreed(self._words, words) < known:  # it doubts what was taken for sure
            return 0
        self._words += words[known : min(agreed, whole)]
        self._edge = words[len(self._words) : agreed]
        more = max(0, agreed - self._most)
        self._most += more
        return more


def _agreed(one: list[str], other: list[str]) -> int:
    """Words at the beginning that both have."""
    for number, (left, right) in enumerate(zip(one, other, strict=False)):
        if _bare(left) != _bare(right):
            return number
    return min(len(one), len(other))
