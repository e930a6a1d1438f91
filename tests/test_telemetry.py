"""What metrics and traces are told of a turn, and of calls."""

import logging
from collections import Counter
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cluster.telemetry import Instrument, Measure, Metrics, Traces, open_traces
from serve_app.conversation import messages as m
from serve_app.conversation.timeline import Moment, Timeline
from serve_app.stage import Common
from serve_app.telemetry import INSTRUMENTS, Telemetry, turn_measures, turn_span
from tests.call_kit import calling, said, speaking, turn

SPOKEN_MS: dict[Moment, int] = {
    "caller_started": -1500,
    "caller_stopped": 0,
    "turn_judged": 240,
    "transcript_started": 40,
    "transcript_ready": 120,
    "llm_started": 125,
    "llm_first_token": 180,
    "llm_finished": 300,
    "tts_started": 250,
    "tts_first_audio": 390,
    "tts_finished": 600,
    "first_frame_sent": 420,
}
INTERRUPTED_MS: dict[Moment, int] = {"interruption_started": 1000, "playout_paused": 1070, "playout_stopped": 1300}


def timeline(at_ms: dict[Moment, int], outcome: str = "answered") -> Timeline:
    made = Timeline(3, outcome)
    for moment, ms in at_ms.items():
        made.stamp(moment, at_s=1000 + ms / 1000, speculative=ms < 240)
    return made


def told(*args: Any) -> dict[tuple[str, ...], float]:
    """Name and tags of each measure of a turn: its value in whole ms."""
    return {(each.name, *each.tags.values()): round(each.value) for each in turn_measures(timeline(*args))}


def test_a_spoken_turn_and_its_parts() -> None:
    measures = told(SPOKEN_MS)
    assert measures["antiphon_turns", "answered"] == 1
    assert measures["antiphon_voice_to_voice_ms",] == 420
    parts = {name[1]: value for name, value in measures.items() if name[0] == "antiphon_turn_segment_ms"}
    assert parts == {
        "end_of_turn": 240,
        "transcript": 0,
        "first_token": 0,
        "first_phrase": 10,
        "first_audio": 140,
        "sending": 30,
    }


def test_a_typed_turn_is_counted_and_has_no_voice_to_voice() -> None:
    assert told({"llm_started": 0, "first_frame_sent": 300}) == {("antiphon_turns", "answered"): 1}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [("interrupted", {"paused": 70, "stopped": 300}), ("cancelled", {"paused": 70}), ("answered", {"paused": 70})],
)
def test_barge_in_counts_from_the_onset_and_an_order_is_none(outcome: str, expected: dict[str, int]) -> None:
    measures = told(SPOKEN_MS | INTERRUPTED_MS, outcome)
    assert {name[1]: value for name, value in measures.items() if name[0] == "antiphon_barge_in_ms"} == expected


def test_each_gap_in_an_answer_is_told() -> None:
    over = timeline(SPOKEN_MS, "answered")
    over.gaps_ms = [30.0, 120.0]
    told_ms = [measure.value for measure in turn_measures(over) if measure.name == "antiphon_answer_gap_ms"]
    assert told_ms == [30, 120]
    Metrics(INSTRUMENTS).report(turn_measures(over))


def test_every_measure_has_its_instrument_and_every_tag_its_place() -> None:
    metrics = Metrics(INSTRUMENTS)
    metrics.report(turn_measures(timeline(SPOKEN_MS | INTERRUPTED_MS, "interrupted")))
    metrics.report([Measure("antiphon_calls", 0)])
    with pytest.raises(KeyError):
        metrics.report([Measure("antiphon_unknown")])
    with pytest.raises(ValueError, match="outcome"):
        metrics.report([Measure("antiphon_turns")])


def test_a_counter_to_which_nothing_is_added_stays() -> None:
    Metrics([Instrument("antiphon_nothing", "counter", "Of nothing.")]).report([Measure("antiphon_nothing", 0.0)])


# --- traces


def traced() -> tuple[Traces, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    return Traces(Resource.create({}), exporter), exporter


def test_a_turn_is_a_trace_with_its_moments_and_the_models_work() -> None:
    traces, exporter = traced()
    span = turn_span(timeline(SPOKEN_MS), "call_1")
    assert span is not None
    traces.record(span)
    traces.close()
    by_name: dict[str, ReadableSpan] = {each.name: each for each in exporter.get_finished_spans()}
    assert set(by_name) == {"turn", "transcript", "llm", "tts"}
    root = by_name["turn"]
    assert root.parent is None
    assert root.attributes is not None
    assert root.attributes["call.id"] == "call_1"
    assert round(float(str(root.attributes["turn.voice_to_voice_ms"]))) == 420
    assert [event.name for event in root.events] == sorted(SPOKEN_MS, key=lambda moment: SPOKEN_MS[moment])
    for name, ms in (("turn", 2100), ("transcript", 80), ("llm", 175), ("tts", 350)):
        each = by_name[name]
        assert each.start_time is not None
        assert each.end_time is not None
        assert round((each.end_time - each.start_time) / 1e6) == ms
        assert each.context is not None
        assert root.context is not None
        assert each.context.trace_id == root.context.trace_id
    assert by_name["transcript"].attributes == {"speculative": True}


def test_a_turn_without_moments_is_no_span() -> None:
    assert turn_span(Timeline(1), "call_1") is None


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke"}, "smoke"),
    ],
)
def test_traces_are_opened_only_where_a_collector_is_named(
    environment: dict[str, str], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert open_traces("antiphon", environment) is None
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


# --- calls


class Sum(Metrics):
    """Metrics that can be read."""

    def __init__(self) -> None:
        super().__init__(INSTRUMENTS)
        self.seen: Counter[tuple[str, ...]] = Counter()

    def report(self, measures: Any) -> None:
        kept = list(measures)
        super().report(kept)
        self.seen.update((each.name, *each.tags.values()) for each in kept)


async def test_a_call_tells_of_each_turn_once() -> None:
    metrics, (traces, exporter) = Sum(), traced()
    async with calling(common=Common(Telemetry(metrics, traces))) as rig:
        await turn(rig, "hello there")
        rig.line.give(said("tell me a very long story about everything."))
        await speaking(rig, 2)
        rig.line.give(said("wait"))
        await rig.line.wait(m.TurnTimed, 3)
    traces.close()
    assert metrics.seen["antiphon_turns", "answered"] == 2
    assert metrics.seen["antiphon_turns", "interrupted"] == 1
    assert metrics.seen["antiphon_voice_to_voice_ms",] == 3
    assert metrics.seen["antiphon_barge_in_ms", "stopped"] == 1
    outcomes = [
        each.attributes["turn.outcome"]
        for each in exporter.get_finished_spans()
        if each.name == "turn" and each.attributes
    ]
    assert outcomes == ["answered", "interrupted", "answered"]
