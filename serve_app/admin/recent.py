"""What the last turns of a process were like: for people who look now. The long view is in the metrics."""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from serve_app.conversation.timeline import Timeline

KEPT = 256
"""Turns of which the durations are kept."""


@dataclass(slots=True)
class RecentTurns:
    """`outcomes`: since the process began. `voice_to_voice_ms`: of the last turns that were spoken and answered."""

    outcomes: Counter[str] = field(default_factory=Counter)
    voice_to_voice_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, timeline: Timeline) -> None:
        self.outcomes[timeline.outcome] += 1
        spoken_ms = timeline.voice_to_voice_ms()
        if spoken_ms is not None and timeline.origin() == "caller_stopped":
            self.voice_to_voice_ms.append(spoken_ms)


def percentiles(values: Sequence[float]) -> dict[str, float | int] | None:
    """`{"p50", "p95", "n"}`; None of nothing."""
    if not values:
        return None
    p50, p95 = (round(float(value), 1) for value in np.percentile(values, (50, 95)))
    return {"p50": p50, "p95": p95, "n": len(values)}
