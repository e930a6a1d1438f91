"""What models do alone, held against what was called: the floor, and plain Whisper's words."""

import json
from pathlib import Path

import numpy as np
import pytest

from loadtest.alone import Alone, add_overhead, add_plain_words
from loadtest.facts import Asked, Count, Facts
from loadtest.plain_whisper import main as plain_whisper
from loadtest.recording import RATE_HZ
from loadtest.script import Case
from loadtest.take import Take
from loadtest.wav import read_speech, write_wav
from loadtest.wire import CallFailed
from tests.scripted_server import tone

MOMENTS = {"transcript_ready": 100.0, "turn_judged": 300.0, "llm_started": 310.0}  # 200 ms of which nothing was done


def take() -> Take:
    played = Take(Case.model_validate({"name": "case", "turns": [{"say": "x"}]}), 0)
    played.caller = np.concatenate([np.zeros(RATE_HZ, np.int16), tone(0.5), np.zeros(RATE_HZ, np.int16)])
    return played


def asked(words: str | None = None, row: str = "", first: int = RATE_HZ, **timed: object) -> Asked:
    return Asked("a tone", first, first + RATE_HZ // 2, words, row, 1000.0, **timed)  # type: ignore[arg-type]


def test_what_is_neither_floor_nor_silence_is_overhead() -> None:
    facts = Facts()
    add_overhead(asked(moments=MOMENTS), 500.0, 90.0, facts)
    assert facts.values == {"floor_ms": [590], "waited_ms": [200], "overhead_ms": [210]}


def test_plain_words_are_counted_by_noise_and_who_fails_is_left_out(tmp_path: Path) -> None:
    one = Facts(asked=[asked("a b c"), asked(), asked("a b c", "_in_noise", first=RATE_HZ + 9)])
    other = Facts(asked=[asked("a b c", first=RATE_HZ - 9)])
    given: list[Path] = []

    def transcribe(files: list[Path]) -> dict[Path, str]:
        given.extend(files)
        return {files[0]: "a b", files[1]: "a x y"}

    add_plain_words(tmp_path, [(take(), one), (take(), other)], transcribe)  # type: ignore[arg-type]
    assert len(given) == 3
    assert np.array_equal(read_speech(given[0]), tone(0.5))
    assert one.counted == {"plain_words_wrong": [Count(1, 3)], "plain_words_wrong_in_noise": [Count(2, 3)]}
    assert other.counted == {}


def test_whisper_that_cannot_be_had_costs_its_own_rows_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def transcribe(files: object) -> dict[Path, str]:
        raise CallFailed("there is no Whisper")

    add_plain_words(tmp_path, [(take(), facts := Facts(asked=[asked("a b c")]))], transcribe)
    assert facts.counted == {}
    assert "plain Whisper: not measured. there is no Whisper" in capsys.readouterr().out


def test_without_the_way_there_is_no_floor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = Facts(asked=[asked(moments=MOMENTS)])
    Alone("{}").add_to(tmp_path, [(take(), facts)])
    assert facts.values == {}
    assert "the floor: not measured. the way to the server and back is not known" in capsys.readouterr().out


def test_where_tones_are_heard_there_is_no_whisper() -> None:
    engines = ("faster_whisper", "synthetic")
    assert [Alone(json.dumps({"asr": {"engine": engine}})).hears_words for engine in engines] == [True, False]


def test_a_file_or_a_model_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(tmp_path / "a.wav", tone(0.1))
    (tmp_path / "nothing").mkdir()
    assert plain_whisper([str(tmp_path / "a.wav"), "--model", str(tmp_path / "nothing")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("loadtest.plain_whisper: ")
