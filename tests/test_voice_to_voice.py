"""The benchmark's own work: every turn is counted, the settings are the server's, no program is waited for forever."""

import json
from pathlib import Path
from typing import Any

import pytest

from loadtest.programs import run_module
from loadtest.speech import SPEECH_VARIABLE, recordings_folder, resolved_settings
from loadtest.voice_to_voice import TURNS_A_CALL, measured_turns
from loadtest.wav import write_wav
from loadtest.wire import CallFailed
from tests.scripted_server import ScriptedServer, tone


class HangsUp(ScriptedServer):
    """Ends its first call when it has answered two turns."""

    calls = 0

    async def _call(self, socket: Any) -> None:
        self.calls += 1
        await super()._call(socket)

    async def _answer(self, heard: str) -> None:
        if self.calls == 1 and self._turn == 2:
            await self._socket.close()
            return
        await super()._answer(heard)


async def test_every_turn_is_measured_or_failed(tmp_path: Path) -> None:
    write_wav(tmp_path / "tone.wav", tone(0.1))
    files = [tmp_path / "tone.wav"] * (TURNS_A_CALL + 1)
    async with HangsUp(answer_s=0.1).run() as server:
        turns, failed = await measured_turns(server.url, files)
    assert len(turns) == 2 + 1
    assert len(failed) == TURNS_A_CALL - 2
    assert all(line.startswith("call 1, tone.wav: ") for line in failed)


async def test_without_a_server_every_turn_failed(tmp_path: Path) -> None:
    turns, failed = await measured_turns("ws://127.0.0.1:9", [tmp_path / "a.wav", tmp_path / "b.wav"])
    assert (len(turns), len(failed)) == (0, 2)


def test_the_settings_are_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Path(__file__).parents[1] / "configs" / "demo.yaml"
    monkeypatch.setenv("ANTIPHON_CALL__INSTRUCTIONS", "be brief")
    monkeypatch.setenv(SPEECH_VARIABLE, str(tmp_path))
    resolved_settings.cache_clear()
    try:
        settings = json.loads(resolved_settings(config))
    finally:
        resolved_settings.cache_clear()
    assert settings["call"]["instructions"] == "be brief"
    assert settings["llm"]["engine"] == "synthetic"


def test_a_program_that_fails_or_hangs_is_an_error_with_its_name() -> None:
    with pytest.raises(CallFailed, match=r"json\.tool failed"):
        run_module("json.tool", timeout_s=60, given="no json")
    with pytest.raises(CallFailed, match=r"http\.server was not done in 0\.5 s"):
        run_module("http.server", "0", "--bind", "127.0.0.1", timeout_s=0.5)


def test_recordings_lie_where_the_variable_says_else_beside_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SPEECH_VARIABLE, "voices")
    assert recordings_folder() == Path("voices")
    monkeypatch.delenv(SPEECH_VARIABLE)
    assert recordings_folder() == Path(__file__).resolve().parents[2] / "shared" / "speech"
