import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from loadtest.failures_calls import Course, Strike, Trial, TurnRow
from loadtest.failures_kinds import KINDS, Kind, chosen, victim
from loadtest.failures_report import figures, table, write
from loadtest.failures_servers import server_settings
from tests.scripted_server import ScriptedServer, tone


@dataclass(frozen=True)
class Child(Kind):
    """A kind of failure whose one process is this one's."""

    pid: int = 0

    def processes(self, url: str) -> list[psutil.Process]:
        return [psutil.Process(self.pid)] if psutil.pid_exists(self.pid) else []


@contextmanager
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def course(kind: Kind, server: ScriptedServer, turns: int) -> Course:
    trial = Trial(server.url, kind, tone(0.2), random.Random(1), between_s=(0.1, 0.2))
    return await trial.run(1, turns)


async def test_a_process_is_killed_while_turns_go_on() -> None:
    with sleeper() as process:
        async with ScriptedServer(answer_s=0.3).run() as server:
            found = await course(Child("killed", "", pid=process.pid), server, 2)
        assert process.wait(10) == -signal.SIGKILL
    assert [turn.problem for turn in found.turns] == [None, None]
    assert len(found.strikes) == 1
    assert len(found.silences_ms(disturbed=True) + found.silences_ms(disturbed=False)) == 2
    assert all(ms > 100 for ms in found.silences_ms(disturbed=True))


async def test_a_frozen_process_goes_on_afterwards() -> None:
    with sleeper() as process:
        async with ScriptedServer(answer_s=0.3).run() as server:
            found = await course(Child("frozen", "", frozen_s=0.1, pid=process.pid), server, 2)
        assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED
    assert len(found.strikes) > 1
    assert all(strike.ended_s > strike.began_s for strike in found.strikes)


class HangsUpOnce(ScriptedServer):
    hung_up = False

    async def _answer(self, heard: str) -> None:
        if not self.hung_up:
            self.hung_up = True
            await self._socket.close()
            return
        await super()._answer(heard)


async def test_a_lost_call_is_counted_and_made_again() -> None:
    async with HangsUpOnce(answer_s=0.3).run() as server:
        found = await course(Child("none", ""), server, 3)
    assert len(found.lost) == 1
    assert [turn.problem for turn in found.turns] == [None, None]
    assert found.strikes == []


async def test_a_turn_without_an_answer_has_failed() -> None:
    async with ScriptedServer(answer_s=0.3, status="failed").run() as server:
        found = await course(Child("none", ""), server, 1)
    assert len(found.failed) == 1
    assert found.silences_ms(disturbed=False) == []


def made_up(kind: str = "llm killed") -> Course:
    turns = [TurnRow(0, 0.0, 2.0, None, 300.0), TurnRow(1, 1.0, 3.0, None, 900.0), TurnRow(0, 3.5, 5.0, "failed: x")]
    return Course(kind, turns, [Strike(2.5, 2.5)], ["gone"])


def test_turns_are_told_apart_by_whether_a_process_was_struck_meanwhile() -> None:
    assert made_up().silences_ms(disturbed=True) == [900.0]
    assert made_up().silences_ms(disturbed=False) == [300.0]
    frozen = Course("frozen", made_up().turns, [Strike(0.5, 1.5)])
    assert frozen.silences_ms(disturbed=True) == [300.0, 900.0]


def test_in_rooms_a_turn_is_disturbed_when_its_own_agent_died() -> None:
    turns = [
        TurnRow(0, 0.0, 5.0, None, 900.0, struck=True, back_s=2.5),
        TurnRow(1, 0.0, 5.0, None, 300.0, struck=False),
    ]
    found = Course("ingress killed", turns, [Strike(0.5, 0.5), Strike(1.0, 1.0), Strike(4.0, 4.0)])
    assert found.silences_ms(disturbed=True) == [900.0]
    assert found.absences_ms == [1500.0]
    assert "no agent" in table([found])
    assert figures(found)["absence_ms"]["max"] == 1500.0


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = write(tmp_path, [made_up()], {"seed": 1})
    kind = result["kinds"]["llm killed"]
    assert (result["calls_lost"], result["turns_failed"]) == (1, 1)
    assert (kind["turns"], kind["turns_disturbed"], kind["silence_ms"]["max"]) == (3, 1, 900.0)
    assert result["all"]["all undisturbed"]["max"] == 300.0
    assert json.loads((tmp_path / "failures.json").read_text())["courses"][0]["kind"] == "llm killed"
    assert (tmp_path / "failures.png").stat().st_size > 0
    assert table([made_up()]) in capsys.readouterr().out


def test_kinds_are_chosen_by_how_they_begin() -> None:
    assert chosen("") == list(KINDS.values())
    assert [kind.name for kind in chosen("llm, controller")] == ["llm killed", "llm frozen", "controller killed"]
    with pytest.raises(ValueError, match="'lllm'"):
        chosen("asr,lllm")


def test_the_same_seed_strikes_the_same_process() -> None:
    one, other = psutil.Process(), psutil.Process(os.getppid())
    struck = [victim([one, other], random.Random(seed)) for seed in range(20)]
    assert struck == [victim([other, one], random.Random(seed)) for seed in range(20)]
    assert set(struck) == {one, other}
    assert victim([], random.Random(1)) is None


def test_only_synthetic_models_are_given_another_pace() -> None:
    engines = {"asr": "synthetic", "llm": "llama_cpp", "tts": "synthetic", "turn": "smart_turn"}
    settings = server_settings(json.dumps({kind: {"engine": engine} for kind, engine in engines.items()}))
    assert settings["ANTIPHON_LLM__REPLICAS"] == "2"
    assert {name.split("__")[0] for name in settings if "TIMING" in name} == {"ANTIPHON_ASR", "ANTIPHON_TTS"}
