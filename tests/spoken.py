"""Speech for the tests of what listens: recorded people where there are recordings, else the TTS says the same."""

import asyncio
import csv
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile

from deployments.audio import resample
from deployments.contracts import SPEECH_RATE_HZ, ModelFiles, Pcm
from deployments.store import Catalogue, Kind, Store, StoreOptions
from deployments.tts.options import TtsOptions
from deployments.tts.piper import PiperTts
from loadtest.speech import RECORDINGS

SENTENCES = ("the child almost hurt the small dog", "sunday is the best part of the week")


def model(id: str, kind: Kind) -> ModelFiles:
    return Store(StoreOptions()).fetch(Catalogue.load().get(id, kind))


@functools.cache
def speech() -> dict[str, Pcm]:
    """What is said -> int16[n] at 16 kHz."""
    table = RECORDINGS / "transcripts.tsv"  # file, text
    if not table.exists():
        return {sentence: said(f"{sentence}.") for sentence in SENTENCES}
    with table.open(encoding="utf-8") as lines:
        return {row["text"]: _recorded(RECORDINGS / row["file"]) for row in csv.DictReader(lines, delimiter="\t")}


def _recorded(path: Path) -> Pcm:
    samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    return resample(np.ascontiguousarray(samples.mean(axis=1).astype(np.int16)), rate_hz, SPEECH_RATE_HZ)


@functools.cache
def said(sentence: str) -> Pcm:
    """By the TTS, always the same: int16[n] at 16 kHz."""
    with ThreadPoolExecutor(1) as aside:  # a loop may be running here
        return aside.submit(asyncio.run, _synthesised(sentence)).result()


async def _synthesised(sentence: str) -> Pcm:
    engine = PiperTts.load(model("piper-joe", "tts"), TtsOptions(model="piper-joe", variation=0))
    chunks = [chunk async for chunk in engine.speak(sentence)]
    await engine.unload()
    return resample(np.concatenate([chunk.pcm for chunk in chunks]), chunks[0].rate_hz, SPEECH_RATE_HZ)
