"""`python -m loadtest.switches` against systems that run: each variant is told the same in every round."""

import asyncio
import json
from pathlib import Path

import pytest

from loadtest.speech import resolved_settings
from loadtest.switches import ALL_OFF, SWITCHES, VARIANTS, main
from loadtest.wav import write_wav
from tests.scripted_server import ScriptedServer, tone
from tests.system import ROOT

LOCAL = ROOT / "configs" / "local.yaml"
SCRIPT = "cases: [{name: plain, turns: [{before_ms: 20, say: {sentence: 1}}]}]"

OVER = "{kind: interruption, after_ms: 500, sound: {sentence: 1}}"
INTERRUPTED = f"{{name: stop, turns: [{{before_ms: 20, say: {{sentence: 1}}, over: [{OVER}]}}]}}"


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    write_wav(tmp_path / "a.wav", tone(0.2))
    (tmp_path / "cases.yaml").write_text(SCRIPT)
    places = {"--cases": tmp_path / "cases.yaml", "--speech": tmp_path, "--out": tmp_path / "out"}
    return [str(LOCAL), *(str(word) for pair in places.items() for word in pair)]


async def test_variants_take_turns_and_each_has_its_row(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with ScriptedServer(answer_s=0.3).run() as server:
        options = ("--url", f"here={server.url}", "--url", "gone=ws://127.0.0.1:9", "--rounds", "1")
        assert await asyncio.to_thread(main, [*words, *options]) == 0
        assert len(server.addressed) == 2  # the first is to warm it
    printed = capsys.readouterr().out
    said = json.loads(printed.splitlines()[-1])
    assert (said["here"]["n"], said["gone"]["n"]) == (1, 0)
    assert (said["answered"], said["failed"]) == (1, 1)
    kept = json.loads((tmp_path / "out" / "switches.json").read_text())
    assert {name: kept[name] for name in said} == said
    assert [detail["variant"] for detail in kept["details"]] == ["here", "gone"]
    assert (tmp_path / "out" / "switches.png").read_bytes().startswith(b"\x89PNG")


async def test_several_cases_show_how_long_a_variant_speaks_on(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cases.yaml").write_text(f"{SCRIPT[:-1]}, {INTERRUPTED}]")
    async with ScriptedServer(answer_s=3.0).run() as server:
        options = ("--url", f"here={server.url}", "--rounds", "1", "--case", "plain,stop")
        assert await asyncio.to_thread(main, [*words, *options]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["here"]["n"] == said["answered"] == 2
    assert said["here barge_in_ms"]["n"] == 1


def test_every_switch_is_a_setting_that_the_system_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them together change as many settings as there are switches."""
    resolved_settings.cache_clear()
    on = json.loads(resolved_settings(LOCAL))["call"]
    for name, value in ALL_OFF.items():
        monkeypatch.setenv(name, value)
    resolved_settings.cache_clear()
    off = json.loads(resolved_settings(LOCAL))["call"]
    resolved_settings.cache_clear()
    for name, value in ALL_OFF.items():
        path = name.removeprefix("ANTIPHON_CALL__").lower().split("__")
        before, after = on, off
        for step in path:
            before, after = before[step], after[step]
        assert str(after).lower() == value
        assert before != after
    assert [*VARIANTS] == ["all_on", *SWITCHES, "all_off"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [(["--only", "all_of"], "there is no variant all_of; there are: all_on,"), (["--case", "pain"], "no case pain")],
)
def test_what_there_is_not_is_said_in_one_line(
    options: list[str], complaint: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *options]) == 2
    assert complaint in capsys.readouterr().err


def test_a_system_that_runs_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--url", "http://127.0.0.1:8000"])
    assert "expected NAME=URL" in capsys.readouterr().err
