"""What of a turn was silence, and what the report makes of it."""

import json
from pathlib import Path

import pytest

from loadtest.overhead import Turn, median_turn, moment_table, overhead_ms, waited_ms
from loadtest.report import table, write
from loadtest.statistics import summarise


def turn(voice_to_voice_ms: float, **moments: float) -> Turn:
    named = [{"name": name, "at_ms": at_ms, "speculative": False} for name, at_ms in moments.items()]
    segments = [{"name": "end of turn", "ms": moments.get("turn_judged", 0)}]
    timeline = {"moments": named, "segments": segments}
    return Turn("a.wav", "heard", "said", "completed", voice_to_voice_ms, 2.0, timeline)


@pytest.mark.parametrize(
    ("moments", "waited"),
    [
        ({}, 0),
        ({"turn_judged": 500}, 0),  # nobody knows when the work began
        ({"turn_judged": 500, "transcript_started": 500, "transcript_ready": 560}, 500),  # nothing was begun before
        ({"turn_judged": 500, "transcript_started": 64, "transcript_ready": 130, "llm_started": 131}, 64),
        ({"turn_judged": 500, "transcript_ready": 130, "llm_started": 501}, 370),  # the transcript lay there
        ({"turn_judged": 500, "tts_first_audio": 400, "first_frame_sent": 502}, 100),  # the sound lay there
        ({"turn_judged": 300, "tts_first_audio": 400, "first_frame_sent": 402}, 0),  # judged while the models worked
        ({"turn_judged": 500, "transcript_ready": -40, "llm_started": 501}, 500),  # ready before the caller stopped
    ],
)
def test_only_time_in_which_nothing_was_done_is_waiting(moments: dict[str, float], waited: float) -> None:
    assert waited_ms(moments) == waited


def test_overhead_is_what_is_left() -> None:
    assert overhead_ms(turn(800, turn_judged=500, tts_first_audio=400, first_frame_sent=502), 300) == 800 - 302 - 100


def test_moments_come_in_their_usual_order() -> None:
    turns = [turn(1, b=20, a=10), turn(1, a=12, b=25, c=5)]
    assert list(moment_table(turns).items()) == [("c", [5]), ("a", [10, 12]), ("b", [20, 25])]


def test_the_median_turn_is_a_real_one() -> None:
    assert median_turn([turn(9), turn(1), turn(5), turn(7)]).voice_to_voice_ms == 5


def test_a_table_has_a_line_for_each_row() -> None:
    assert table({"all": summarise([1, 2, 3]), "none": summarise([])}) == (
        "ms                          p50      p90      p95      max    n\n"
        "all                           2        3        3        3    3\n"
        "none                          -        -        -        -    0"
    )


def test_the_report_is_saved_as_json_and_picture(tmp_path: Path) -> None:
    turns = [turn(600 + 10 * n, turn_judged=200, transcript_ready=250, first_frame_sent=590) for n in range(6)]
    result = write(tmp_path / "reports", turns, [{"file": "a.wav", "floor_ms": 300.0}], ["b.wav: no sound"])
    assert result["voice_to_voice_ms"] == {"p50": 625.0, "p90": 645.0, "p95": 647.5, "max": 650.0, "n": 6}
    assert result["floor_ms"]["p50"] == 302
    assert result["overhead_ms"]["max"] == 650 - 302
    assert result["failed_turns"] == 1
    assert "cores" in result["machine"]
    saved = json.loads((tmp_path / "reports" / "voice_to_voice.json").read_text())
    assert saved["moments"]["turn_judged"]["p50"] == 200
    assert len(saved["turns"]) == 6
    assert (tmp_path / "reports" / "voice_to_voice.png").read_bytes().startswith(b"\x89PNG")
