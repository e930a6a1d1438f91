"""A day of calls that a model has to work for: when they begin and end, and what each of their turns asks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DAY_S = 86_400
HOURS = (0, 5, 7, 9, 11, 12.25, 13, 14.5, 16.5, 18.5, 21, 24)
CALLS = (0.06, 0.03, 0.15, 0.75, 1.0, 0.95, 0.62, 0.9, 0.85, 0.5, 0.25, 0.06)
"""Of the busiest hour's calls, so many at these hours: an office's day, with its lunch."""

BURSTS = 6
BURST_S = 180.0
BURST_CALLS = 0.35
"""Six times between eight and eight something happens, and within three minutes a third of the busiest hour's calls
come on top: a mail that went out, a power cut."""

CALL_S = 180.0
CALL_SPREAD = 0.9
"""Calls are log-normal: half are shorter than two minutes, a few take a quarter of an hour."""
SHORTEST_S, LONGEST_S = 15.0, 1800.0

TURN_S = 10.0
FIRST_TURN_S = 4.0
WORK_S = 2.5
WORK_SPREAD = 0.5
"""In every ten seconds of a call this model works for two and a half, if it has a place at once. A caller asks on even
where nothing was answered."""


@dataclass(frozen=True, slots=True)
class Day:
    """`begins_s`, `ends_s`: of each call, in order of their beginnings. `asked_s`, `work_s`, `call`: of each request,
    in order: when, how long it takes with a place of its own, and of which call it is."""

    begins_s: Floats
    ends_s: Floats
    asked_s: Floats
    work_s: Floats
    call: Ints

    def calls_at(self) -> Ints:
        """int[DAY_S + 1]: calls in progress at each second, if none was lost."""
        seconds = np.arange(DAY_S + 1)
        ended = np.searchsorted(np.sort(self.ends_s), seconds, "right")
        return np.searchsorted(self.begins_s, seconds, "right") - ended

    def only(self, calls: int, chance: np.random.Generator) -> "Day":
        """The same calls, of which so many ask for this model: a voice that is seldom wanted."""
        chosen = chance.choice(len(self.begins_s), min(calls, len(self.begins_s)), replace=False)
        kept = np.isin(self.call, chosen)
        return Day(self.begins_s, self.ends_s, self.asked_s[kept], self.work_s[kept], self.call[kept])


def make_day(peak_calls: float, chance: np.random.Generator) -> Day:
    """`peak_calls`: in progress at once in the busiest hour, bursts aside."""
    begins = _begins_s(peak_calls, chance)
    lengths = np.clip(chance.lognormal(_log_mean(CALL_S, CALL_SPREAD), CALL_SPREAD, len(begins)), SHORTEST_S, LONGEST_S)
    turns = np.maximum(1, np.round((lengths - FIRST_TURN_S) / TURN_S)).astype(np.int64)
    call = np.repeat(np.arange(len(begins)), turns)
    number = np.arange(len(call)) - np.repeat(np.cumsum(turns) - turns, turns)
    share = (number + chance.uniform(0, 1, len(call))) / turns[call]
    asked = begins[call] + FIRST_TURN_S + share * (lengths[call] - FIRST_TURN_S)
    work = chance.lognormal(_log_mean(WORK_S, WORK_SPREAD), WORK_SPREAD, len(call))
    order = np.argsort(asked, kind="stable")
    return Day(begins, begins + lengths, asked[order], work[order], call[order])


def _begins_s(peak_calls: float, chance: np.random.Generator) -> Floats:
    """Poisson, at the rate of the hour."""
    seconds = np.arange(DAY_S)
    rate = np.interp(seconds / 3600, HOURS, CALLS) * peak_calls / CALL_S
    for burst in chance.uniform(8 * 3600, 20 * 3600, BURSTS):
        rate[int(burst) : int(burst + BURST_S)] += BURST_CALLS * peak_calls / BURST_S
    counts = chance.poisson(rate)
    return np.sort(np.repeat(seconds, counts) + chance.uniform(0, 1, counts.sum()))


def _log_mean(mean: float, spread: float) -> float:
    """Of the logarithm, so that the values have this mean."""
    return float(np.log(mean) - spread**2 / 2)
