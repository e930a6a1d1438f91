"""What was done on speculation, and whether it was of use."""

from collections import Counter
from typing import Any, Literal, get_args

from cluster.telemetry import Measure
from serve_app.conversation.timeline import Timeline, now_s
from serve_app.telemetry import WORK, Telemetry

Work = Literal["transcript", "answer"]
Fate = Literal["started", "used", "wasted"]

MODELS: dict[Work, tuple[str, ...]] = {"transcript": ("transcript",), "answer": ("llm", "tts")}
"""Whose time each work takes."""


class Tally:
    """Of all calls of one process. What a call has started is used or wasted when the call is over, at the latest."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self.counts: Counter[tuple[Work, Fate]] = Counter()
        self.wasted_s: dict[str, float] = dict.fromkeys(WORK, 0.0)
        """By model. Time and not work: a model that waits or shares its device has computed for less."""

    def note(self, work: Work, fate: Fate) -> None:
        self.counts[work, fate] += 1
        self._telemetry.report(Measure("antiphon_speculations", tags={"work": work, "fate": fate}))

    def waste(self, work: Work, timeline: Timeline) -> None:
        """It is dropped now, and `timeline` still has its moments."""
        self.note(work, "wasted")
        for model in MODELS[work]:
            seconds = _seconds(timeline, model)
            self.wasted_s[model] += seconds
            self._telemetry.report(Measure("antiphon_speculation_wasted_seconds", seconds, {"model": model}))

    def as_message(self) -> dict[str, Any]:
        """For other programs: JSON."""
        counts = {work: {fate: self.counts[work, fate] for fate in get_args(Fate)} for work in get_args(Work)}
        return {**counts, "wasted_s": {model: round(seconds, 3) for model, seconds in self.wasted_s.items()}}


def _seconds(timeline: Timeline, model: str) -> float:
    """From its start to its end, or to now; 0 where it had not begun."""
    first, last = (timeline.stamps.get(moment) for moment in WORK[model])
    if first is None:
        return 0.0
    return (now_s() if last is None else last.at_s) - first.at_s
