"""How many calls at once hold: what was seen of a number of calls, and which number is tried next. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from loadtest.statistics import Summary, summarise

RESOLUTION = 0.05
"""Of the calls that hold: to know them better is not worth another step."""
BUSY = 0.9
"""Of the machine's cores, or of the one core that an ingress replica can use: above it, they are what is in the way."""

Limit = Literal["engines", "machine", "ingress", "not reached"]


@dataclass(frozen=True, slots=True)
class Used:
    """On average in a time: `machine`, the part of all cores that was busy; `cores`, how many of them each kind of
    process used; `ingress_mb`, the memory of the ingress replicas at its end."""

    machine: float
    cores: Mapping[str, float]
    ingress_mb: float


@dataclass(frozen=True, slots=True)
class Turn:
    """`gaps_ms`: the answer fell silent for so long, because no more of it had come."""

    voice_to_voice_ms: float
    gaps_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """So many calls at once. `failed`: why each turn that is not among `turns` has no answer."""

    calls: int
    turns: Sequence[Turn]
    failed: Sequence[str]
    used: Used

    @property
    def wait_ms(self) -> Summary:
        """For which a caller waits in a turn, before the answer and within it: where there is too little of a device,
        first phrases go before later ones, so that voice to voice alone would look well for long."""
        return summarise(turn.voice_to_voice_ms + turn.gaps_ms for turn in self.turns)

    @property
    def voice_to_voice_ms(self) -> Summary:
        return summarise(turn.voice_to_voice_ms for turn in self.turns)

    def holds(self, limit_ms: float) -> bool:
        p95 = self.wait_ms.p95
        return not self.failed and p95 is not None and p95 <= limit_ms


@dataclass(frozen=True, slots=True)
class Level:
    """What so many replicas of each model did: with one call, `alone`, and with many. `idle`: without any."""

    replicas: int
    ingress: int
    limit_ms: float
    idle: Used
    alone: Step
    steps: Sequence[Step]

    @property
    def best(self) -> Step | None:
        """Of the steps that held below the first that did not, the one with the most calls."""
        broken = self.broken
        held = [s for s in self.steps if s.holds(self.limit_ms) and (broken is None or s.calls < broken.calls)]
        return max(held, key=lambda step: step.calls, default=None)

    @property
    def broken(self) -> Step | None:
        """The one with the fewest calls that did not hold."""
        return min((s for s in self.steps if not s.holds(self.limit_ms)), key=lambda step: step.calls, default=None)

    @property
    def calls(self) -> float:
        """That hold, with a fraction: where p95 reaches the limit on the straight line from the best step to the broken
        one. With few calls a replica whole numbers would be too coarse to compare by."""
        best, broken = self.best, self.broken
        if best is None:
            return 0.0
        low, high = best.wait_ms.p95, broken.wait_ms.p95 if broken else None
        if broken is None or broken.failed or low is None or high is None or high <= low:
            return float(best.calls)
        return round(best.calls + (broken.calls - best.calls) * (self.limit_ms - low) / (high - low), 2)

    @property
    def limit(self) -> Limit:
        """What was in the way of more."""
        broken = self.broken
        if broken is None:
            return "not reached"
        if broken.used.machine >= BUSY:
            return "machine"
        return "ingress" if broken.used.cores.get("ingress", 0.0) >= BUSY * self.ingress else "engines"


def climb(holds: Callable[[int], bool], guess: int, tries: int, most: int) -> None:
    """Ask in turn for numbers of calls, from `guess` on, until it is known well enough how many hold, or `tries` times:
    first a quarter more or less until there is one on each side, then in the middle. Never more than `most`."""
    low, high, asked = 0, None, min(guess, most)
    for _ in range(tries):
        if holds(asked):
            low = asked
        else:
            high = asked
        if high is not None and high - low <= max(1, RESOLUTION * high):
            return
        if low == most:
            return
        asked = min(most, _next(low, high))


def _next(low: int, high: int | None) -> int:
    if high is None:
        return low + max(1, low // 4)
    return (low + high) // 2 if low else max(1, high * 3 // 4)
