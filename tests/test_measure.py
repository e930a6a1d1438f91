"""The floor: what the models alone take. With synthetic engines, whose times are stated."""

import json
from pathlib import Path

import pytest

from deployments import measure, say, tones
from deployments.audio import resample

CONFIG = """
applications:
  - args:
      asr: {engine: synthetic, timing: {first_item_ms: 30, items_per_s: 1000}}
      llm: {engine: synthetic, timing: {first_item_ms: 40, items_per_s: 100}}
      tts: {engine: synthetic, timing: {first_item_ms: 20, items_per_s: 100}}
      turn: {engine: synthetic}
      vad: {engine: energy, model: null}
      call: {instructions: be brief}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_the_floor_is_the_sequence_that_cannot_be_avoided(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = []
    for index, text in enumerate(("what is the time", "tell me a story")):
        files.append(str(tmp_path / f"{index}.wav"))
        say.write_wav(Path(files[-1]), tones.encode(text, 24_000), 24_000)
    assert measure.main([str(config), *files, "--runs", "2"]) == 0
    *rows, total = map(json.loads, capsys.readouterr().out.splitlines())
    assert [row["file"] for row in rows] == files
    for row in rows:
        assert row["transcript_ms"] >= 29  # the stated times, to the clock's grain
        assert row["first_token_ms"] >= 39
        assert row["first_phrase_ms"] >= row["first_token_ms"]
        assert row["first_audio_ms"] >= 19
    assert total["turns"] == 2
    assert total["floor_ms"]["n"] == 4
    assert total["floor_ms"]["p50"] <= total["floor_ms"]["p90"] <= total["floor_ms"]["max"]
    assert total["floor_ms"]["p50"] >= 30 + 40 + 20 - 3


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
def test_speech_is_made_at_the_rate_asked_for(config: Path, tmp_path: Path, rate_hz: int) -> None:
    out = tmp_path / "new" / "said.wav"
    assert say.main(["Hello there.", str(out), "--config", str(config), "--rate", str(rate_hz)]) == 0
    pcm = measure.read_wav(out)
    assert tones.decode(pcm) == "hello there."
    assert len(resample(pcm, 16_000, rate_hz)) == pytest.approx((12 * 0.06 + 0.4) * rate_hz, rel=0.1)


def test_what_cannot_be_used_is_named_in_one_line(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.yaml").write_text("no: serve config")
    (tmp_path / "text.wav").write_text("no sound")
    say.write_wav(tmp_path / "good.wav", tones.encode("hello", 24_000), 24_000)
    for words, problem in (
        ((str(config), str(tmp_path / "gone.wav")), "gone.wav"),
        ((str(config), str(tmp_path / "text.wav")), "text.wav"),
        ((str(tmp_path / "other.yaml"), str(tmp_path / "good.wav")), "other.yaml"),
    ):
        assert measure.main(words) == 2
        error = capsys.readouterr().err
        assert problem in error
        assert error.count("\n") == 1
