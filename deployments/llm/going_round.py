"""Notices an answer that has begun to go round: a small model that says "very very very" says it to its last token.

What makes repeating less likely (`sampling`) cannot help there: it chooses among likely words, and there is only one.
"""

LONGEST = 60
"""Letters of a round: a short sentence."""
ROUNDS = 3
LEAST = 24
"""Letters of all rounds together: "ha ha ha" and "no, no, no" are said by people, too."""


class GoingRound:
    """Given an answer piece by piece. Only letters and digits count, in either case: who goes round soon leaves out the
    spaces."""

    def __init__(self) -> None:
        self._said = ""

    def push(self, text: str) -> bool:
        """True: up to some place in this piece the answer says one sequence of up to `LONGEST` letters, `ROUNDS` times
        and more."""
        found = False
        for letter in filter(str.isalnum, text.casefold()):
            self._said = (self._said + letter)[-ROUNDS * LONGEST :]
            found = found or self._goes_round()
        return found

    def _goes_round(self) -> bool:
        return any(self._repeats(length) for length in range(1, LONGEST + 1))

    def _repeats(self, length: int) -> bool:
        span = max(ROUNDS * length, LEAST)
        last = self._said[-span:]
        return len(last) == span and last[length:] == last[:-length]
