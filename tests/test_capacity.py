"""The benchmark of how many calls a config holds: what was foretold, and what the report makes of it."""

import json
from pathlib import Path

import pytest

from loadtest.capacity import foretold
from loadtest.capacity_report import Capacity, report
from loadtest.scale_out_steps import Level, Step, Turn, Used
from loadtest.wire import CallFailed


def step(calls: int, *waits_ms: float, failed: int = 0) -> Step:
    cores = {"models": 0.1 + 0.2 * calls, "ingress": 0.02 + 0.05 * calls, "door": 0.01, "callers": 0.04 * calls}
    return Step(calls, [Turn(ms) for ms in waits_ms], ["no sound came"] * failed, Used(0.3 * calls, cores, 100.0))


LEVEL = Level(1, 1, 900.0, step(0).used, step(1, 400.0), (step(4, 1100.0), step(3, 700.0), step(6, 1500.0, failed=1)))


def test_the_plan_is_asked(tmp_path: Path) -> None:
    assert foretold(Path("configs/demo.yaml")) > foretold(Path("configs/local.yaml")) > 0
    with pytest.raises(CallFailed):
        foretold(tmp_path / "missing.yaml")


def test_what_a_call_uses_is_without_callers_and_without_what_idles() -> None:
    found = Capacity("local.yaml", 4, LEVEL)
    assert found.cores_a_call(step(4, 500.0)) == pytest.approx(0.25)
    assert found.level.calls == 3.5
    assert found.level.limit == "machine"
    assert found.without_callers > found.level.calls


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = report(tmp_path, Capacity("local.yaml", 4, LEVEL))
    assert (result["calls"], result["foretold"], result["foretold_of_measured"]) == (3.5, 4, 1.143)
    assert [each["calls"] for each in result["steps"]] == [1, 3, 4, 6]
    printed = capsys.readouterr().out
    assert "3 calls, hold" in printed
    assert "4 calls, too late" in printed
    assert "6 calls, 1 failed" in printed
    assert "3.5 calls hold, 4 were foretold" in printed
    assert json.loads((tmp_path / "capacity.json").read_text())["level"]["limit_ms"] == 900.0
    assert (tmp_path / "capacity.png").read_bytes().startswith(b"\x89PNG")
