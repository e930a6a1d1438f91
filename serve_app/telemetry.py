"""What a call tells metrics and traces: a turn when it is over, and what became of speculation. Never a frame."""

from collections.abc import Iterator, Mapping

from cluster.telemetry import Instrument, Measure, Metrics, Span, SpanEvent, Traces
from serve_app.admin.recent import RecentTurns
from serve_app.conversation.timeline import Moment, Timeline, epoch_ns

WAIT_MS = (50, 100, 200, 300, 400, 500, 600, 700, 800, 1000, 1250, 1500, 2000, 3000, 5000, 10_000, 20_000)
PART_MS = (5, 10, 20, 50, 100, 150, 200, 300, 400, 600, 800, 1200, 2000, 4000, 8000, 16_000)

INSTRUMENTS = (
    Instrument("antiphon_calls", "gauge", "Calls under way in this replica."),
    Instrument("antiphon_turns", "counter", "Turns that are over, by how they ended.", ("outcome",)),
    Instrument(
        "antiphon_voice_to_voice_ms",
        "histogram",
        "From the caller's last voiced sample to the first sound of the answer given to the transport.",
        boundaries=WAIT_MS,
    ),
    Instrument(
        "antiphon_turn_segment_ms",
        "histogram",
        "The parts of voice-to-voice, which add up: what was done on speculation within an earlier one counts nothing.",
        ("segment",),
        PART_MS,
    ),
    Instrument(
        "antiphon_answer_gap_ms",
        "histogram",
        "Silences inside answers because the next sound was not made in time, in rooms.",
        boundaries=PART_MS,
    ),
    Instrument(
        "antiphon_barge_in_ms",
        "histogram",
        "From the caller's first voiced sample over the answer until it was paused, and until it was stopped for good.",
        ("until",),
        PART_MS,
    ),
    Instrument(
        "antiphon_speculations",
        "counter",
        "Work begun in a pause before the turn was judged over, and whether it was of use.",
        ("work", "fate"),
    ),
    Instrument(
        "antiphon_speculation_wasted_seconds",
        "counter",
        "From the start of such work to its end, or until it was dropped, where it was of no use.",
        ("model",),
    ),
    Instrument(
        "antiphon_answers_held_back",
        "counter",
        "Answers not written in advance because turns of other calls waited for busy models.",
    ),
    Instrument(
        "antiphon_requests_repeated",
        "counter",
        "Requests of models that were made again because a replica died, failed or was silent for too long.",
        ("model", "why"),
    ),
)

WORK: Mapping[str, tuple[Moment, Moment]] = {
    "transcript": ("transcript_started", "transcript_ready"),
    "llm": ("llm_started", "llm_finished"),
    "tts": ("tts_started", "tts_finished"),
}
"""What models do for a turn, from when to when."""


def turn_measures(timeline: Timeline) -> Iterator[Measure]:
    """A turn that is over. Typed turns have no voice-to-voice."""
    yield Measure("antiphon_turns", tags={"outcome": timeline.outcome})
    spoken_ms = timeline.voice_to_voice_ms()
    if spoken_ms is not None and timeline.origin() == "caller_stopped":
        yield Measure("antiphon_voice_to_voice_ms", spoken_ms)
        for segment in timeline.segments():
            yield Measure("antiphon_turn_segment_ms", segment.ms, {"segment": segment.name.replace(" ", "_")})
    yield from (Measure("antiphon_answer_gap_ms", gap_ms) for gap_ms in timeline.gaps_ms or ())
    yield from _barge_in(timeline)


def _barge_in(timeline: Timeline) -> Iterator[Measure]:
    """Of the turn's last hold. An order stops the answer as well, and no voice waits for that."""
    onset, paused = timeline.stamps.get("interruption_started"), timeline.stamps.get("playout_paused")
    stopped = timeline.stamps.get("playout_stopped") if timeline.outcome == "interrupted" else None
    for until, end in (("paused", paused), ("stopped", stopped)):
        if onset is not None and end is not None and end.at_s >= onset.at_s:
            yield Measure("antiphon_barge_in_ms", (end.at_s - onset.at_s) * 1000, {"until": until})


def turn_span(timeline: Timeline, call: str) -> Span | None:
    """The turn with its moments as events, and the models' work as children. None when nothing was stamped."""
    stamps = sorted(timeline.stamps.items(), key=lambda item: item[1].at_s)
    if not stamps:
        return None
    attributes: dict[str, str | bool | int | float] = {
        "call.id": call,
        "turn.number": timeline.turn,
        "turn.outcome": timeline.outcome,
    }
    spoken_ms = timeline.voice_to_voice_ms()
    if spoken_ms is not None:
        attributes["turn.voice_to_voice_ms"] = spoken_ms
    return Span(
        "turn",
        epoch_ns(stamps[0][1].at_s),
        epoch_ns(stamps[-1][1].at_s),
        attributes,
        tuple(SpanEvent(name, epoch_ns(at.at_s), {"speculative": at.speculative}) for name, at in stamps),
        tuple(_children(timeline)),
    )


def _children(timeline: Timeline) -> Iterator[Span]:
    for name, (first, last) in WORK.items():
        if first in timeline.stamps and last in timeline.stamps:
            start, end = timeline.stamps[first], timeline.stamps[last]
            yield Span(name, epoch_ns(start.at_s), epoch_ns(end.at_s), {"speculative": start.speculative})


class Telemetry:
    """Of one process: every call in it tells this. Without metrics and traces it tells nobody."""

    def __init__(self, metrics: Metrics | None = None, traces: Traces | None = None) -> None:
        self._metrics = metrics
        self._traces = traces
        self.recent = RecentTurns()

    def report(self, *measures: Measure) -> None:
        if self._metrics is not None:
            self._metrics.report(measures)

    def turn_over(self, timeline: Timeline, call: str) -> None:
        """A turn of this call is over."""
        self.recent.add(timeline)
        if self._metrics is not None:
            self._metrics.report(turn_measures(timeline))
        if self._traces is not None and (span := turn_span(timeline, call)) is not None:
            self._traces.record(span)

    def close(self) -> None:
        """Send what is left. Waits for the collector."""
        if self._traces is not None:
            self._traces.close()
