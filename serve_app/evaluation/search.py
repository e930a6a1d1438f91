"""Other judges: more and less patient ones around the present options, for a picture, or many at random. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serve_app.call_options import TurnTakingOptions
from serve_app.evaluation.pauses import Latencies, Pause
from serve_app.evaluation.scores import NewJudge, Score, by_options, by_silence, frontier, judged, score

Changes = Mapping[str, float]

SILENCES_MS = range(1500, 199, -100)
OFFSETS = tuple(offset / 2 for offset in range(-8, 9))
"""Added to the certainty's log-odds: the whole range from hesitant to hasty."""
SPANS: Mapping[str, tuple[float, float]] = {
    "sound_weight": (0.0, 1.5),
    "words_weight": (0.0, 2.0),
    "certainty_offset": (-4.0, 8.0),
}
MIN_SILENCES_MS = range(160, 353, 32)
NEIGHBOURS = 0.08
"""The second half of a search looks around the best of the first: so much of each span is a usual step."""


@dataclass(frozen=True, slots=True)
class Point:
    """One judge and what it is worth."""

    label: str
    score: Score


@dataclass(frozen=True, slots=True)
class Curve:
    """One kind of judge, from patient to hasty."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """Pauses that judges are tried on."""

    pauses: Sequence[Pause]
    latencies: Latencies

    def score(self, judge: NewJudge) -> Score:
        return score(judged(self.pauses, judge, self.latencies))


def changed(options: TurnTakingOptions, changes: Mapping[str, object]) -> TurnTakingOptions:
    """Checked as a config's are. Raises pydantic's ValidationError."""
    return TurnTakingOptions.model_validate({**options.model_dump(), **changes})


def curves(trial: Trial, options: TurnTakingOptions) -> list[Curve]:
    """What a timeout alone, sound alone and sound with words make of it."""
    return [
        Curve("silence alone", tuple(Point(f"{ms} ms", trial.score(by_silence(ms))) for ms in SILENCES_MS)),
        Curve("sound", _hastier(trial, changed(options, {"ask_llm": False}))),
        Curve("sound and words", _hastier(trial, options)),
    ]


def _hastier(trial: Trial, options: TurnTakingOptions) -> tuple[Point, ...]:
    return tuple(
        Point(
            f"certainty {offset:+.1f}",
            trial.score(by_options(changed(options, {"certainty_offset": options.certainty_offset + offset}))),
        )
        for offset in OFFSETS
    )


def best(trial: Trial, options: TurnTakingOptions, tries: int, seed: int) -> list[tuple[Changes, Score]]:
    """Of so many option sets those that no other beats, the fewest cut-ins first."""
    random = np.random.default_rng(seed)

    def tried_out(changes: Changes) -> tuple[Changes, Score]:
        return changes, trial.score(by_options(changed(options, changes)))

    tried = [tried_out(changes) for changes in _anywhere(random, tries - tries // 2)]
    for _ in range(tries // 2):
        kept = _unbeaten(tried)
        tried.append(tried_out(_near(random, kept[random.integers(len(kept))][0])))
    return sorted(_unbeaten(tried), key=lambda one: (one[1].cut_ins.happened, one[1].p90_ms))


def _unbeaten(tried: Sequence[tuple[Changes, Score]]) -> list[tuple[Changes, Score]]:
    return [tried[place] for place in frontier([score for _, score in tried])]


def _anywhere(random: np.random.Generator, count: int) -> Iterator[Changes]:
    for _ in range(count):
        found = {name: round(float(random.uniform(*span)), 2) for name, span in SPANS.items()}
        yield {**found, "min_silence_ms": int(random.choice(MIN_SILENCES_MS))}


def _near(random: np.random.Generator, changes: Changes) -> Changes:
    moved = {
        name: round(float(np.clip(changes[name] + random.normal(0, NEIGHBOURS * (high - low)), low, high)), 2)
        for name, (low, high) in SPANS.items()
    }
    return {**changes, **moved}
