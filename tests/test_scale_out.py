"""The benchmark of scaling out: which numbers of calls are tried, which one holds, and what the report makes of it."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from loadtest import scale_out, scale_out_callers
from loadtest.scale_out import main, phrase_ms, variables
from loadtest.scale_out_bare import bare_server
from loadtest.scale_out_callers import Round, converse, stream
from loadtest.scale_out_level import Cost, cost
from loadtest.scale_out_report import Found, report
from loadtest.scale_out_steps import Level, Step, Turn, Used, climb
from loadtest.speech import resolved_settings
from loadtest.wav import write_wav

IDLE = Used(0.05, {"ingress": 0.02}, 100.0)


def step(calls: int, *waits_ms: float, failed: int = 0, machine: float = 0.5, ingress: float = 0.3) -> Step:
    used = Used(machine, {"ingress": ingress}, 100.0 + 2 * calls)
    return Step(calls, [Turn(ms) for ms in waits_ms], ["no sound came"] * failed, used)


def level(replicas: int, *steps: Step) -> Level:
    return Level(replicas, 1, 900.0, IDLE, step(1, 400.0), steps)


@pytest.mark.parametrize(
    ("capacity", "guess", "tries", "asked"),
    [
        (9, 7, 9, [7, 8, 10, 9]),  # up, a quarter more each time, and into the middle
        (2, 7, 9, [7, 5, 3, 2]),  # down
        (0, 2, 9, [2, 1]),  # not even one
        (20, 7, 3, [7, 8, 10]),  # no more tries
        (99, 7, 9, [7, 8, 9]),  # no more calls than may be
        (99, 20, 9, [9]),
        (103, 100, 9, [100, 125, 112, 106, 103]),  # well enough known
    ],
)
def test_the_numbers_of_calls_that_are_tried(capacity: int, guess: int, tries: int, asked: list[int]) -> None:
    seen: list[int] = []

    def holds(calls: int) -> bool:
        seen.append(calls)
        return calls <= capacity

    climb(holds, guess, tries, most=9 if capacity == 99 else 1000)
    assert seen == asked


def test_a_number_holds_when_all_are_answered_soon_enough() -> None:
    assert step(4, 500.0, 900.0).holds(900.0)
    assert not step(4, 500.0, 990.0).holds(900.0)
    assert not step(4, 500.0, failed=1).holds(900.0)
    assert not step(4).holds(900.0)


def test_an_answer_that_stops_and_goes_on_is_waited_for() -> None:
    stopped = replace(step(4), turns=[Turn(500.0, 450.0)])
    assert not stopped.holds(900.0)
    assert stopped.voice_to_voice_ms.max == 500


def test_between_two_numbers_the_limit_is_reached_on_a_straight_line() -> None:
    assert level(1, step(6, 500.0), step(8, 800.0), step(10, 1000.0)).calls == 9.0
    assert level(1, step(8, 800.0), step(10, 500.0, failed=1)).calls == 8.0  # how far it was from it is not known
    assert level(1, step(8, 800.0)).calls == 8.0
    assert level(1, step(8, 1800.0)).calls == 0.0


def test_what_holds_above_a_number_that_did_not_was_luck() -> None:
    best = level(1, step(6, 500.0), step(8, 1000.0), step(9, 600.0)).best
    assert best is not None
    assert best.calls == 6


@pytest.mark.parametrize(
    ("steps", "limit"),
    [
        ([step(8, 500.0)], "not reached"),
        ([step(8, 990.0)], "engines"),
        ([step(8, 990.0, machine=0.95)], "machine"),
        ([step(8, 990.0, ingress=0.93)], "ingress"),
        ([step(8, 990.0), step(9, 990.0, machine=0.99)], "engines"),  # more would have been in the way later
    ],
)
def test_what_was_in_the_way(steps: list[Step], limit: str) -> None:
    assert level(1, *steps).limit == limit
    assert replace(level(1, *steps), ingress=2).limit == limit.replace("ingress", "engines")


def test_what_a_call_costs() -> None:
    assert cost(level(1, step(10, 500.0), step(21, 990.0))) == Cost(10, 2.8, 2.0)
    assert cost(level(1, step(10, 990.0))) is None


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = level(1, step(6, 800.0), step(8, 1000.0)), level(2, step(12, 500.0), step(14, 990.0, machine=0.97))
    result = report(tmp_path, Found([one, two], 8, 200.0, 500.0, Cost(12, 0.5, 0.1)))
    assert [found["calls"] for found in result["levels"]] == [7.0, 13.63]
    assert [found["efficiency"] for found in result["levels"]] == [1.0, 0.974]
    assert [found["of_the_stated_rate"] for found in result["levels"]] == [0.875, 0.852]
    assert result["processor_is_the_limit_from_replicas"] == 2
    assert result["socket"]["calls"] == 12
    assert result["bare"]["calls_a_core"] == 200
    printed = capsys.readouterr().out
    assert "2 x, 14 do not" in printed
    assert "the machine's cores" in printed
    assert json.loads((tmp_path / "scale_out.json").read_text())["details"][1]["steps"][0]["calls"] == 12
    assert (tmp_path / "scale_out.png").read_bytes().startswith(b"\x89PNG")


def test_where_nothing_held_there_is_a_report_without_figures(tmp_path: Path) -> None:
    result = report(tmp_path, Found([level(1, step(8, failed=3)), level(2, step(9, 990.0))], 8, 200.0, 500.0, None))
    assert [found["efficiency"] for found in result["levels"]] == [None, None]
    assert result["socket"] is result["bare"] is None


@pytest.mark.parametrize("calls", [1, 4, 16])
def test_the_stated_rate(calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many calls, whose turns last one phrase longer than without engines, want a replica all the time."""
    write_wav(file := tmp_path / "tone.wav", np.full(24_000, 9000, np.int16))
    monkeypatch.setattr(scale_out, "said", lambda text, settings: file)
    turn_s = 0.75 + 0.25 + 2 * 1.0
    phrase_s = phrase_ms("{}", calls) / 1000
    assert calls * 2 * phrase_s == pytest.approx(turn_s + phrase_s, rel=0.01)


def test_the_settings_of_a_level_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables(4, 2, 64, 212.5).items():
        monkeypatch.setenv(name, value)
    settings = json.loads(resolved_settings.__wrapped__(Path("configs/demo.yaml")))
    assert [settings[kind]["replicas"] for kind in ("asr", "llm", "tts", "turn", "ingress")] == [4, 4, 4, 4, 2]
    assert settings["tts"]["timing"] == {"first_item_ms": 212.5, "items_per_s": 1e6, "concurrency": 1}
    assert settings["ingress"]["max_calls"] == 64


def test_only_synthetic_engines_have_a_stated_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "configs/local.yaml"]) == 2
    assert "only synthetic engines" in capsys.readouterr().err


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Round]:
    """Three callers who dial at once, for a moment."""
    monkeypatch.setattr(scale_out_callers, "DIAL_S", 0.1)
    return lambda url: Round(url, (), time.time(), 0.3, 3, 0, 3)


def test_connections_to_the_bare_server(soon: Callable[[str], Round]) -> None:
    with bare_server() as (url, _):
        talk = stream(soon(url))
    assert talk.failed == []
    assert talk.cores > 0


async def test_a_caller_who_is_hung_up_on_has_failed(soon: Callable[[str], Round], tmp_path: Path) -> None:
    write_wav(file := tmp_path / "tone.wav", np.full(4800, 9000, np.int16))

    async def hang_up(caller: ServerConnection) -> None:
        await caller.send('{"type": "session.created", "session": {}}')
        await caller.close(1013, "at capacity")

    async with serve(hang_up, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        talk = await asyncio.to_thread(converse, replace(soon(f"ws://127.0.0.1:{port}/"), files=(file,)))
    assert talk.turns == []
    assert len(talk.failed) == 3
    assert "at capacity" in talk.failed[0]
