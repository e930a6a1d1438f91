"""Figures of many turns in few numbers, and how many words were understood."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Summary:
    """The percentiles that a report shows, in the unit of the values. All None where there are no values."""

    p50: float | None
    p90: float | None
    p95: float | None
    max: float | None
    n: int


def summarise(values: Iterable[float]) -> Summary:
    """Percentiles are interpolated linearly between the two nearest values, and rounded to a tenth."""
    known = np.asarray(list(values), dtype=np.float64)
    if not len(known):
        return Summary(None, None, None, None, 0)
    p50, p90, p95, highest = (round(float(value), 1) for value in np.percentile(known, (50, 90, 95, 100)))
    return Summary(p50, p90, p95, highest, len(known))


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Words put in, left out or changed, out of the reference's `words`."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        return self.errors / self.words if self.words else float(self.errors > 0)

    def __add__(self, other: "WordErrors") -> "WordErrors":
        return WordErrors(self.errors + other.errors, self.words + other.words)


def words_of(text: str) -> list[str]:
    """Lower case, without punctuation: what "the same words" means here."""
    return re.findall(r"[\w']+", text.lower().replace("’", "'"))


def word_errors(reference: str, heard: str) -> WordErrors:
    """The least number of insertions, deletions and substitutions (Levenshtein's distance over words)."""
    expected, got = words_of(reference), words_of(heard)
    return WordErrors(_distance(expected, got), len(expected))


def _distance(a: Sequence[str], b: Sequence[str]) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (left != right))
    return row[-1]
