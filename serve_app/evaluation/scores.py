"""What a judge's verdicts are worth: how long finished turns wait, and how often it cuts in. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.call_options import TurnTakingOptions
from serve_app.conversation.items import SemanticVad, ServerVad
from serve_app.conversation.judging import TurnJudge
from serve_app.evaluation.pauses import Latencies, Pause
from serve_app.evaluation.replay import LONGEST_MS, Verdict, replay

NewJudge = Callable[[], TurnJudge]
AMBIGUOUS = "joined"
"""A whole sentence after which another one comes: counted apart, for nobody can know."""


@dataclass(frozen=True, slots=True)
class Count:
    """So many of so many."""

    happened: int
    of: int

    @property
    def rate(self) -> float:
        return self.happened / self.of if self.of else 0.0


@dataclass(frozen=True, slots=True)
class Score:
    """Delays are the silence in ms that finished turns wait for the verdict. `cut_ins` leave out the ambiguous."""

    p50_ms: float
    p90_ms: float
    mean_ms: float
    cut_ins: Count
    joined: Count

    def dominates(self, other: "Score") -> bool:
        """Nowhere worse, and somewhere better."""
        mine, theirs = self._losses(), other._losses()
        return mine != theirs and all(a <= b for a, b in zip(mine, theirs, strict=True))

    def _losses(self) -> tuple[float, ...]:
        return (self.cut_ins.happened, self.joined.happened, self.p50_ms, self.p90_ms)


def by_options(options: TurnTakingOptions) -> NewJudge:
    return lambda: TurnJudge(SemanticVad(), options)


def by_silence(silence_ms: int) -> NewJudge:
    """What a voice detector with a timeout does."""
    detection, options = ServerVad(silence_duration_ms=silence_ms), TurnTakingOptions()
    return lambda: TurnJudge(detection, options)


def judged(pauses: Sequence[Pause], judge: NewJudge, latencies: Latencies) -> list[Verdict]:
    return [replay(pause, judge(), latencies) for pause in pauses]


def score(verdicts: Sequence[Verdict]) -> Score:
    delays = delays_ms(verdicts)
    p50, p90 = (round(float(value), 1) for value in np.percentile(delays, (50, 90)))
    clear = [verdict for verdict in verdicts if verdict.pause.goes_on and verdict.pause.kind != AMBIGUOUS]
    joined = [verdict for verdict in verdicts if verdict.pause.kind == AMBIGUOUS]
    return Score(p50, p90, round(float(np.mean(delays)), 1), cut_ins(clear), cut_ins(joined))


def delays_ms(verdicts: Sequence[Verdict]) -> list[float]:
    """Of the turns that were over; one that is never judged over counts as the longest wait. [LONGEST_MS] for none."""
    waits = [verdict.after_ms for verdict in verdicts if not verdict.pause.goes_on]
    return [LONGEST_MS if wait is None else wait for wait in waits] or [LONGEST_MS]


def cut_ins(verdicts: Sequence[Verdict]) -> Count:
    return Count(sum(verdict.cut_in for verdict in verdicts), len(verdicts))


def frontier(scores: Sequence[Score]) -> list[int]:
    """Which of them no other one dominates, by their places."""
    return [i for i, one in enumerate(scores) if not any(other.dominates(one) for other in scores)]
