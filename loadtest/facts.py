"""What a take of a case comes to, in rows, and what it is concluded from."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from loadtest.moments import Kind, Moment
from loadtest.recording import RATE_HZ
from loadtest.take import Take
from loadtest.voiced import voiced_stretches

SHORTEST_GAP = 40 * RATE_HZ // 1000
"""Less than this between two voiced stretches is a consonant."""

SILENCE = 300 * RATE_HZ // 1000
"""A voice that is away for longer than this has fallen silent."""

AT_ONCE = 1500 * RATE_HZ // 1000
"""Whoever falls silent so soon after a sound has done so because of it."""

Stretch = tuple[int, int]
"""(first, last) voiced sample."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an answer's text says and how much of it sounded: `first` to `last`, `voiced_s` of it voiced. `whole`: to
    its end; else the text is what the server keeps as heard."""

    text: str
    first: int
    last: int
    voiced_s: float
    whole: bool


@dataclass(frozen=True, slots=True)
class Count:
    """Of `chances` times that it could happen, it did so many times."""

    happened: int
    chances: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A turn of the caller's, to be given to the models alone: `first` to `last` in the caller's recording. `row` ends
    the names of the rows that it counts in. `moments`: the server's, where the turn was timed."""

    what: str
    first: int
    last: int
    words: str | None = None
    row: str = ""
    voice_to_voice_ms: float | None = None
    moments: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Boundary:
    """The silence after a phrase with this text, before the next one of its answer."""

    text: str
    silence_ms: float
    long: bool


@dataclass(slots=True)
class Facts:
    """`values`: row -> what was measured. `chances`: row -> for each time that it could happen, whether it did;
    `counted` likewise, of what is not good or bad. `spoken`, `asked` and `boundaries` are looked at after the calls.
    `sentences` is the verdict for people."""

    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    chances: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    counted: dict[str, list[Count]] = field(default_factory=lambda: defaultdict(list))
    spoken: list[Spoken] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    boundaries: list[Boundary] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not any(any(happened) for happened in self.chances.values())

    def add(self, row: str, value: float) -> None:
        self.values[row].append(round(float(value), 1))

    def chance(self, row: str, happened: bool) -> None:
        self.chances[row].append(happened)

    def say(self, sentence: str) -> None:
        self.sentences.append(sentence)


class Evidence:
    """A take, looked up. `voice`: the agent's voiced stretches; `told`: does the server say when an answer begins?"""

    def __init__(self, take: Take) -> None:
        self.take = take
        self.voice = merged(voiced_stretches(take.agent, RATE_HZ), SHORTEST_GAP)
        self.told = any(moment.kind in ("answer_begins", "outcome") for moment in take.moments)

    def between(self, after: int, until: float) -> list[Stretch]:
        """The agent's stretches that begin in this time."""
        return [stretch for stretch in self.voice if after < stretch[0] < until]

    def moments(self, kind: Kind, since: float = 0, until: float = inf) -> list[Moment]:
        return [moment for moment in self.take.moments if moment.kind == kind and since <= moment.at < until]

    def agent_texts(self, since: int, until: int) -> dict[str, str]:
        """Of the agent's items that begin in this time: the last that was told of each."""
        begun, last = dict[str, int](), dict[str, str]()
        for moment in self.moments("agent_text"):
            begun.setdefault(moment.item, moment.at)
            last[moment.item] = moment.text
        return {item: text for item, text in last.items() if since <= begun[item] < until and text}

    def phrases(self, since: int, until: int) -> dict[str, list[Moment]]:
        """Of the agent's items that begin in this time: each text that was longer than the one before."""
        found = dict[str, list[Moment]]()
        for moment in self.moments("agent_text"):
            known = found.setdefault(moment.item, [])
            if len(moment.text) > (len(known[-1].text) if known else 0):
                known.append(moment)
        return {item: known for item, known in found.items() if known and since <= known[0].at < until}

    def cancelled(self, since: int, until: int) -> bool:
        """Does the server say so of the first answer that ends in this time?"""
        return [moment.text for moment in self.moments("outcome", since, until)][:1] == ["cancelled"]


def merged(stretches: Sequence[Stretch], gap: int) -> list[Stretch]:
    """Those that follow within `gap` samples are one."""
    joined: list[Stretch] = []
    for first, last in stretches:
        if joined and first - joined[-1][1] <= gap:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return joined


def spoken(text: str, stretches: Sequence[Stretch], *, whole: bool) -> Spoken:
    voiced = sum(last - first + 1 for first, last in stretches)
    return Spoken(text, stretches[0][0], stretches[-1][1], voiced / RATE_HZ, whole)


def ms(samples: float) -> float:
    return samples * 1000 / RATE_HZ
