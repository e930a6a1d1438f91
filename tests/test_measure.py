"""The floor: what the models alone take. With synthetic engines, whose times are stated."""

import io
import json
from pathlib import Path

import pytest

from deployments import measure, say, tones
from deployments.audio import resample
from deployments.in_process import read_sections
from serve_app import cli
from serve_app.call_options import DEFAULT_INSTRUCTIONS
from serve_app.commands.check_config import without_secrets
from serve_app.settings import load_settings

CONFIG = """
applications:
  - name: antiphon
    route_prefix: /
    import_path: serve_app.app:build
    args:
      asr: {engine: synthetic, timing: {first_item_ms: 30, items_per_s: 1000}}
      llm: {engine: synthetic, timing: {first_item_ms: "${FIRST_TOKEN_MS}", items_per_s: 100}}
      tts: {engine: synthetic, timing: {first_item_ms: 20, items_per_s: 100}}
      turn: {engine: synthetic}
      vad: {engine: energy}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config whose settings come from everywhere."""
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("FIRST_TOKEN_MS", "40")
    (tmp_path / ".env").write_text("ANTIPHON_CALL__INSTRUCTIONS=be brief: always")
    monkeypatch.setenv("ANTIPHON_TTS__TIMING__FIRST_ITEM_MS", "25")
    monkeypatch.chdir(tmp_path)
    return path


@pytest.fixture
def settings(config: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """A file with what `antiphon check-config --json` says."""
    assert cli.main(["check-config", str(config), "--json"]) == 0
    path = config.with_name("settings.json")
    path.write_text(capsys.readouterr().out)
    return str(path)


def test_the_models_are_those_that_the_server_runs(config: Path, settings: str) -> None:
    sections, server = read_sections(settings), load_settings(config)
    assert sections.llm.timing.first_item_ms == 40
    assert sections.tts.timing.first_item_ms == 25
    assert sections.call.instructions == "be brief: always"
    for section in ("asr", "llm", "tts", "turn", "vad", "store"):
        assert getattr(sections, section) == getattr(server, section)


def test_the_instructions_are_the_servers_own_where_nobody_gave_any(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config.with_name(".env").unlink()
    assert cli.main(["check-config", str(config), "--json"]) == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(capsys.readouterr().out))
    assert read_sections("-").call.instructions == DEFAULT_INSTRUCTIONS


def test_secrets_are_masked() -> None:
    values = {"models": [{"api_key": "hush", "max_tokens": 5}], "first_token_s": 2.0, "password": ""}
    masked = {"models": [{"api_key": "…", "max_tokens": 5}], "first_token_s": 2.0, "password": ""}
    assert without_secrets(values) == masked


def test_the_floor_is_the_sequence_that_cannot_be_avoided(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for index, text in enumerate(("what is the time", "tell me a story")):
        files.append(str(tmp_path / f"{index}.wav"))
        say.write_wav(Path(files[-1]), tones.encode(text, 24_000), 24_000)
    assert measure.main([*files, "--settings", settings, "--runs", "2"]) == 0
    *rows, total = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["file"] for row in rows] == files
    for row in rows:
        assert row["transcript_ms"] >= 29  # the stated times, to the clock's grain
        assert row["first_token_ms"] >= 39
        assert row["first_phrase_ms"] >= row["first_token_ms"]
        assert row["first_audio_ms"] >= 24
    assert total["turns"] == 2
    assert total["floor_ms"]["n"] == 4
    assert total["floor_ms"]["p50"] <= total["floor_ms"]["p90"] <= total["floor_ms"]["max"]
    assert total["floor_ms"]["p50"] >= 30 + 40 + 25 - 3


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("Yes.", "Yes."),
        ("Well, I think so", "Well,"),
        ("The time is", None),
        ("The time is now", "The time is "),
        ("It costs 3.50 euros now", "It costs 3.50 "),
        ("", None),
    ],
)
def test_a_voice_begins_with_a_clause_or_three_words(text: str, phrase: str | None) -> None:
    begun = measure.FIRST_PHRASE.match(text)
    assert (begun.group() if begun else None) == phrase


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_speech_is_made_at_the_rate_asked_for(settings: str, tmp_path: Path, rate_hz: int) -> None:
    out = tmp_path / "new" / "said.wav"
    assert say.main(["Hello there.", str(out), "--settings", settings, "--rate", str(rate_hz)]) == 0
    pcm = measure.read_wav(out)
    assert tones.decode(pcm) == "hello there."
    assert len(resample(pcm, 16_000, rate_hz)) == pytest.approx((12 * 0.06 + 0.4) * rate_hz, rel=0.1)


def test_what_cannot_be_used_is_named_in_one_line(
    settings: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.json").write_text('{"no": "settings"}')
    (tmp_path / "text.wav").write_text("no sound")
    say.write_wav(tmp_path / "good.wav", tones.encode("hello", 24_000), 24_000)
    for file, given, problem in (
        ("gone.wav", settings, "gone.wav"),
        ("text.wav", settings, "text.wav"),
        ("good.wav", "other.json", "other.json"),
        ("good.wav", "config.yaml", "config.yaml"),
        ("good.wav", "gone.json", "gone.json"),
    ):
        assert measure.main([file, "--settings", given]) == 2
        error = capsys.readouterr().err
        assert problem in error
        assert error.count("\n") == 1
