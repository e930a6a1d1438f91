import time
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from serve_app.caller_turn import CallerTurn
from serve_app.conversation.timeline import CHAIN, Moment, Timeline, now_s

MOMENTS: tuple[Moment, ...] = get_args(Moment)

GOLDEN = """\
turn 3 answered: voice to voice 420 ms
  caller_started                   -1500 ms
  caller_stopped          +1500        0 ms
  transcript_ready         +120      120 ms  speculative
  llm_started                +5      125 ms  speculative
  llm_first_token           +55      180 ms  speculative
  turn_judged               +60      240 ms
  tts_started               +10      250 ms
  llm_finished              +50      300 ms
  tts_first_audio           +90      390 ms
  first_frame_sent          +30      420 ms
  tts_finished             +180      600 ms
  agent_stopped           +1900     2500 ms
  end of turn      240 ms  ███████████████████████
  transcript         0 ms
  first token        0 ms
  first phrase      10 ms                         █
  first audio      140 ms                          █████████████
  sending           30 ms                                       ███"""


def stated_turn() -> Timeline:
    timeline = Timeline(3, "answered")
    at_ms: dict[Moment, int] = {
        "caller_started": -1500,
        "caller_stopped": 0,
        "turn_judged": 240,
        "tts_started": 250,
        "tts_first_audio": 390,
        "first_frame_sent": 420,
        "llm_finished": 300,
        "tts_finished": 600,
        "agent_stopped": 2500,
    }
    prepared_ms: dict[Moment, int] = {"transcript_ready": 120, "llm_started": 125, "llm_first_token": 180}
    for moment, ms in at_ms.items():
        timeline.stamp(moment, at_s=1000 + ms / 1000)
    for moment, ms in prepared_ms.items():
        timeline.stamp(moment, at_s=1000 + ms / 1000, speculative=True)
    return timeline


def test_the_waterfall_of_a_stated_turn() -> None:
    assert stated_turn().waterfall() == GOLDEN


def test_gaps_in_the_answer_are_said_where_they_are_known() -> None:
    timeline = stated_turn()
    assert timeline.as_message()["gaps_ms"] is None
    timeline.gaps_ms = []
    assert timeline.waterfall() == GOLDEN
    timeline.gaps_ms = [31.04, 250]
    assert timeline.as_message()["gaps_ms"] == [31.0, 250]
    assert timeline.waterfall().startswith(
        "turn 3 answered: voice to voice 420 ms; its sound came late: 31, 250 ms of silence inside\n"
    )


def test_the_same_turn_as_a_message() -> None:
    message = stated_turn().as_message()
    assert message["voice_to_voice_ms"] == 420.0
    assert message["text"] == GOLDEN
    assert message["moments"][2] == {"name": "transcript_ready", "at_ms": 120.0, "speculative": True}  # type: ignore[index]
    assert message["segments"][0] == {  # type: ignore[index]
        "name": "end of turn",
        "from": "caller_stopped",
        "to": "turn_judged",
        "ms": 240.0,
    }


@given(st.dictionaries(st.sampled_from(MOMENTS), st.floats(0, 60)))
def test_the_segments_add_up_to_voice_to_voice(at_s: dict[Moment, float]) -> None:
    timeline = Timeline(1)
    for moment, second in at_s.items():
        timeline.stamp(moment, at_s=second)
    segments, total_ms = timeline.segments(), timeline.voice_to_voice_ms()
    assert all(segment.ms >= 0 for segment in segments)
    assert all(a.end == b.start for a, b in zip(segments, segments[1:], strict=False))  # noqa: RUF007
    assert (total_ms is None) == ("first_frame_sent" not in at_s or timeline.origin_s() is None)
    if total_ms is not None:
        origin_s = timeline.origin_s()
        assert origin_s is not None
        last_s = max([origin_s, *(at_s[moment] for moment, _ in CHAIN if moment in at_s)])
        assert abs(total_ms - (last_s - origin_s) * 1000) < 1e-6
        assert abs(sum(segment.ms for segment in segments) - total_ms) < 1e-6
    assert len(timeline.waterfall().splitlines()) == 1 + len(at_s) + len(segments)


def test_a_moment_comes_once_unless_it_comes_again() -> None:
    timeline = Timeline(1)
    timeline.stamp("llm_started", at_s=1.0, speculative=True)
    timeline.stamp("llm_started", at_s=2.0)
    assert (timeline.stamps["llm_started"].at_s, timeline.stamps["llm_started"].speculative) == (1.0, True)
    timeline.restamp("llm_started", at_s=3.0)
    assert (timeline.stamps["llm_started"].at_s, timeline.stamps["llm_started"].speculative) == (3.0, False)


def test_what_did_not_happen_is_taken_back() -> None:
    timeline = stated_turn()
    timeline.take_back(["llm_started", "tts_started", "playout_paused"])
    assert not {"llm_started", "tts_started"} & set(timeline.stamps)
    assert "caller_stopped" in timeline.stamps


def test_a_caller_who_goes_on_takes_back_what_was_prepared() -> None:
    turn = CallerTurn(0, stated_turn())
    turn.drop_prepared()
    assert set(turn.timeline.stamps) >= {"caller_started", "turn_judged"}
    assert not {"caller_stopped", "transcript_ready", "llm_first_token", "tts_first_audio"} & set(turn.timeline.stamps)


def test_a_typed_turn_counts_from_its_beginning() -> None:
    timeline = Timeline(1)
    timeline.stamp("llm_started", at_s=10.0)
    timeline.stamp("first_frame_sent", at_s=10.25)
    assert timeline.voice_to_voice_ms() == 250.0
    assert timeline.segments()[0].start == "llm_started"
    assert timeline.as_message()["origin"] == "llm_started"


def test_a_turn_of_which_nothing_is_known() -> None:
    assert Timeline(7).waterfall() == "turn 7 unanswered"
    assert Timeline(7).as_message()["voice_to_voice_ms"] is None


def test_the_clock_goes_on() -> None:
    before = now_s()
    time.sleep(0.002)
    assert now_s() > before
