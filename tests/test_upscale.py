"""The benchmark of a rush of calls: what is told of it, and what is refused."""

import json
from pathlib import Path

import pytest

from deployments.tts.options import TtsOptions
from loadtest.speech import resolved_settings
from loadtest.upscale import _parser, main, settings_of
from loadtest.upscale_course import Course, Talk, Timed
from loadtest.upscale_report import report, rows_of

SEEN = [(98.0, 1), (104.0, 2), (110.0, 2), (112.0, 4), (170.0, 4), (181.5, 1)]
TALK = Talk([Timed(95.0, 400.0), Timed(105.0, 900.0), Timed(130.0, 500.0), Timed(175.0, 410.0)], [], [(90.0, 180.0)])


def of(policy: str, *, failed: int = 0, seen: list[tuple[float, int]] = SEEN) -> Course:
    talk = Talk(TALK.turns, ["no sound came"] * failed, TALK.here)
    return Course(policy, 4, 100.0, 120.0, 160.0, talk, seen)


def test_times_count_from_the_rush() -> None:
    course = of("forecast")
    assert [course.until(number) for number in (2, 3, 4)] == [4.0, 12.0, 12.0]
    assert course.until_gone_s == 21.5
    assert of("queue", seen=SEEN[:-1]).until_gone_s is None  # there when nobody looked any more
    assert of("queue", seen=[(99.0, 1), (170.0, 1)]).until_gone_s is None  # there was never a second
    assert of("queue", seen=SEEN[:2]).until(4) is None


def test_each_turn_counts_where_it_ended() -> None:
    rows = rows_of(of("forecast"))
    assert [(name, row.p50) for name, row in rows.items()] == [
        ("forecast: alone", 400.0),
        ("forecast: they come", 900.0),
        ("forecast: all are there", 500.0),
        ("forecast: they have left", 410.0),
    ]


def test_a_table_a_picture_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = report(tmp_path, [of("forecast"), of("queue", failed=2, seen=SEEN[:2])])
    assert result["policies"]["forecast"]["until_s"] == {2: 4.0, 3: 12.0, 4: 12.0}
    assert len(result["policies"]["queue"]["failed"]) == 2
    assert "forecast         4.0    12.0    12.0        21.5       4       0" in capsys.readouterr().out
    assert len(json.loads((tmp_path / "upscale.json").read_text())["courses"]) == 2
    assert (tmp_path / "upscale.png").read_bytes().startswith(b"\x89PNG")


def test_the_server_is_told_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings_of("queue", _parser().parse_args([]), "k" * 16, 200.0).items():
        monkeypatch.setenv(name, value)
    tts = TtsOptions.model_validate(json.loads(resolved_settings.__wrapped__(Path("configs/demo.yaml")))["tts"])
    assert (tts.replicas, tts.max_replicas, tts.scaling.policy, tts.target_streams) == (1, 4, "queue", 1)


def test_what_cannot_be_measured_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "configs/local.yaml"]) == 2
    assert "only synthetic engines" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--policies", "forecast,guess"])
    assert "unknown guess; there are forecast, queue" in capsys.readouterr().err
