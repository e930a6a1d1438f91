"""`antiphon call` on the running system, as a person uses it."""

import asyncio
import csv
import re
import sys
import wave
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments import tones
from deployments.contracts import Pcm
from loadtest.caller import RealtimeCaller
from loadtest.speech import RECORDINGS, sentences
from loadtest.statistics import word_errors
from loadtest.wav import read_speech, write_wav
from tests.spoken import model
from tests.system import ROOT

pytestmark = pytest.mark.timeout(400)


async def call(*words: str) -> str:
    """What it printed; anything but success is a failure."""
    pipe = asyncio.subprocess.PIPE
    program = [sys.executable, "-m", "serve_app.cli", "call", *words]
    process = await asyncio.create_subprocess_exec(*program, stdout=pipe, stderr=pipe, cwd=ROOT)
    out, err = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode == 0, err.decode()
    return out.decode()


def sides(path: Path) -> tuple[Pcm, Pcm]:
    with wave.open(str(path)) as file:
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0].copy(), both[:, 1].copy()


def letters(text: str) -> str:
    """Without spaces: between two phrases there is no tone."""
    return text.replace(" ", "")


def lines_of(who: str, out: str) -> list[str]:
    return [line.removeprefix(who).strip() for line in out.splitlines() if line.startswith(f"{who} ")]


async def test_tones_are_heard_answered_and_saved(demo_url: str, tmp_path: Path) -> None:
    write_wav(tmp_path / "question.wav", tones.encode("the air is pure", 16_000), 16_000)
    saved = tmp_path / "both.wav"
    out = await call(str(tmp_path / "question.wav"), "--text", "Hello.", "--url", demo_url, "--save", str(saved))
    spoken, typed = lines_of("agent", out)
    assert lines_of("caller", out)[0] == "the air is pure"
    assert "the air is pure" in spoken.lower()
    assert "hello" in typed.lower()
    assert len(re.findall(r"^turn \d+ \w+", out, re.MULTILINE)) == 2
    assert "first_frame_sent" in out
    left, right = sides(saved)
    assert tones.decode(left, 24_000) == "the air is pure"
    assert letters(tones.decode(right, 24_000)) == letters(tones.audible(spoken + typed))


async def test_two_callers_get_their_own_answers(demo_url: str) -> None:
    async def ask(text: str) -> str:
        async with RealtimeCaller(demo_url) as caller:
            await caller.say(tones.encode(text, 24_000))
            answer = await caller.answer()
            assert letters(tones.decode(answer.audio, 24_000)) == letters(tones.audible(answer.text))
            return answer.text.lower()

    first, second = await asyncio.gather(ask("birch canoe"), ask("smooth planks"))
    assert "birch canoe" in first
    assert "smooth planks" not in first
    assert "smooth planks" in second
    assert "birch canoe" not in second


# --- with real models


@cache
def whisper() -> Any:
    """Plain faster-whisper with the system's own weights."""
    from faster_whisper import WhisperModel

    folder = next(iter(model("whisper-tiny.en", "asr").paths.values())).parent
    return WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)


@cache
def transcribe(audio: bytes) -> str:
    """By that. `audio`: int16 at 16 kHz."""
    segments, _ = whisper().transcribe(np.frombuffer(audio, "<i2").astype(np.float32) / 32768.0, language="en")
    return " ".join(segment.text.strip() for segment in segments)


def recordings() -> list[tuple[Path, str | None]]:
    """Files with what is said in them; None where speech was made and plain Whisper has to say it."""
    table = RECORDINGS / "transcripts.tsv"
    if not table.exists():
        return [(path, None) for path in sentences(None, ROOT / "configs/local.yaml")]
    with table.open(encoding="utf-8") as lines:
        return [(RECORDINGS / row["file"], row["text"]) for row in csv.DictReader(lines, delimiter="\t")]


async def test_the_saved_answer_says_what_the_text_says(local_url: str, tmp_path: Path) -> None:
    saved = tmp_path / "both.wav"
    out = await call(str(recordings()[0][0]), "--url", local_url, "--save", str(saved))
    _, right = sides(saved)
    write_wav(tmp_path / "right.wav", right)
    heard = transcribe(read_speech(tmp_path / "right.wav", 16_000).tobytes())
    said = " ".join(lines_of("agent", out))
    errors = word_errors(said, heard)
    print(f"said  {said}\nheard {heard}\n{errors.errors} of {errors.words} words wrong")
    assert errors.words > 0
    assert errors.rate <= 0.2  # names and numbers are written in more ways than one


async def test_two_people_at_once_get_their_own_answers(local_url: str) -> None:
    async def ask(path: Path) -> tuple[str, str]:
        async with RealtimeCaller(local_url) as caller:
            await caller.say(read_speech(path))
            answer = await caller.answer(120)
            assert len(answer.audio)
            return answer.heard, transcribe(read_speech(path, 16_000).tobytes())

    pairs = await asyncio.gather(*(ask(path) for path, _ in recordings()[:2]))
    own = [word_errors(plain, heard).rate for heard, plain in pairs]
    crossed = [word_errors(pairs[1 - index][1], heard).rate for index, (heard, _) in enumerate(pairs)]
    assert all(mine < others for mine, others in zip(own, crossed, strict=True))
