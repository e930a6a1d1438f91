"""How many calls there will be when a replica that is asked for now is ready, and how much work a call is."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

_LATELY_S = 2.0


@dataclass(frozen=True, slots=True)
class Expected:
    """A number that is not known yet: its mean, and the variance around it."""

    mean: float
    variance: float


class Forecast:
    """Of how many are in progress at once, of what begins by chance and ends by chance (a queue M/M/∞).

    Beginnings and endings are counted over the last `window_s` or so, older ones for less and less. What was not
    watched is taken for quiet: the first of them are no rush yet.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._at_s: float | None = None
        self._count = 0.0
        # Sums of the past; a second ago counts exp(-1 / window_s) as much as now.
        self._watched_s = window_s
        self._begun = self._ended = self._count_s = 0.0

    def observe(self, now_s: float, count: float) -> None:
        """`count` are in progress now. What begins and ends between two observations is not seen."""
        if self._at_s is not None:
            self._age(max(0.0, now_s - self._at_s))
            change = count - self._count
            self._begun += max(0.0, change)
            self._ended += max(0.0, -change)
        self._at_s = now_s
        self._count = count

    def _age(self, elapsed_s: float) -> None:
        kept = math.exp(-elapsed_s / self._window_s)
        self._watched_s = self._watched_s * kept + self._window_s * (1 - kept)
        self._count_s = self._count_s * kept + self._count * self._window_s * (1 - kept)
        self._begun *= kept
        self._ended *= kept

    def ahead(self, horizon_s: float) -> Expected:
        """In `horizon_s` from now: those of today who stay, and those who come. Never fewer than there are now: these
        need room in the meantime."""
        end_rate = self._ended / self._count_s if self._count_s else 0.0
        stay = math.exp(-end_rate * horizon_s)
        reach_s = (1 - stay) / end_rate if end_rate else horizon_s  # of those who come, not all are still there
        come_rate = self._begun / self._watched_s
        come = come_rate * reach_s
        unsure = come_rate / self._watched_s * reach_s**2  # of a rate that was counted over a short time
        return Expected(max(self._count, self._count * stay + come), self._count * stay * (1 - stay) + come + unsure)


class Level:
    """The mean of a number over the last `window_s` or so."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._at_s: float | None = None
        self._mean = 0.0

    def of(self, now_s: float, value: float) -> float:
        """`value` has been there since the last look, if that was lately: of a long time nobody knows what was."""
        elapsed_s = max(0.0, now_s - self._at_s) if self._at_s is not None else 0.0
        self._mean += (value - self._mean) * (1 - math.exp(-min(elapsed_s, _LATELY_S) / self._window_s))
        self._at_s = now_s
        return self._mean


class Duty:
    """Seconds of a deployment's work for each second of a call, over the last `window_s` or so.

    It begins as `presumed`, which weighs as much as `presumed_call_s` seconds of calls and counts less as calls come.
    """

    def __init__(self, presumed: float, presumed_call_s: float, window_s: float) -> None:
        self._presumed_busy_s = presumed * presumed_call_s
        self._presumed_call_s = presumed_call_s
        self._window_s = window_s
        self._at_s: float | None = None
        self._busy_s = self._call_s = 0.0
        self._told: dict[Hashable, float] = {}

    def observe(self, now_s: float, calls: float, busy_s: Mapping[Hashable, float]) -> None:
        """`busy_s`: each replica's seconds of work since it started, all that it does at once added up."""
        elapsed_s = max(0.0, now_s - self._at_s) if self._at_s is not None else 0.0
        kept = math.exp(-elapsed_s / self._window_s)
        known = self._told if self._at_s is not None else busy_s  # what was done before the first look was for others
        done_s = sum(max(0.0, total - known.get(replica, 0.0)) for replica, total in busy_s.items())
        self._busy_s = self._busy_s * kept + done_s
        self._call_s = self._call_s * kept + calls * elapsed_s
        self._at_s = now_s
        self._told = dict(busy_s)

    @property
    def value(self) -> float:
        return (self._presumed_busy_s + self._busy_s) / (self._presumed_call_s + self._call_s)


def streams_wanted(calls: Expected, duty: float, headroom: float) -> float:
    """Places for requests: their mean, and `headroom` standard deviations. Requests of many calls come by chance
    (Poisson), and how many calls there will be is not certain either."""
    mean = calls.mean * duty
    return mean + headroom * math.sqrt(mean + duty**2 * calls.variance)
