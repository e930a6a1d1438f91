"""The clips of a config: people's recordings where there are some, and sentences in the config's own voice."""

import csv
import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np

from deployments.audio import resample
from deployments.contracts import SPEECH_RATE_HZ, Asr, Pcm, Tts
from deployments.in_process import Engines, Sections
from deployments.measure import read_wav
from deployments.say import spoken
from serve_app.call_options import CallOptions
from serve_app.evaluation import asking, clips, texts
from serve_app.evaluation.asking import Models, pauses_of
from serve_app.evaluation.clips import Clip, Sentence
from serve_app.evaluation.pauses import Material, Pause, read_material, write_material

SPEECH_VARIABLE = "SPEECH_RECORDINGS"
CUTS_OF_RECORDINGS, CUTS_OF_SPEECH = 3, 1
Progress = Callable[[str], None]


def recordings_folder() -> Path:
    """SPEECH_RECORDINGS, else `../shared/speech` beside the repository. It need not exist."""
    repository = Path(__file__).resolve().parents[2]
    return Path(os.environ.get(SPEECH_VARIABLE) or repository.parent / "shared" / "speech")


def cache_path(sections: Sections, folder: Path, seed: int) -> Path:
    """Other models, other recordings, another seed or another way of making cases: another file."""
    parts = [json.dumps([sections.model_dump(mode="json"), seed], sort_keys=True).encode()]
    parts += [Path(str(module.__file__)).read_bytes() for module in (asking, clips, texts, sys.modules[__name__])]
    parts += [path.read_bytes() for path in _recordings(folder)]
    key = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "antiphon" / "turn_evaluation" / f"{key}.json"


async def material(sections: Sections, options: CallOptions, folder: Path, seed: int, tell: Progress) -> Material:
    """From the cache, or by asking the models, which takes some minutes. Raises BadModel."""
    path = cache_path(sections, folder, seed)
    try:
        return read_material(path)
    except OSError:
        tell("loading the models")
    made = await _make(sections, options, folder, seed, tell)
    write_material(path, made)
    return made


async def _make(sections: Sections, options: CallOptions, folder: Path, seed: int, tell: Progress) -> Material:
    with_word_times = sections.model_copy(
        update={
            "asr": sections.asr.model_copy(update={"word_times": True}),
            "tts": sections.tts.model_copy(update={"variation": 0.0}),  # the same sound each time
        }
    )
    engines, own = Engines(sections), Engines(with_word_times)
    words, voice = own.asr(), own.tts()
    said = [clip async for clip in all_clips(words, voice, folder, seed, tell)]
    await words.unload()
    await voice.unload()
    asr, llm, turn = engines.asr(), engines.llm(), engines.turn()
    models = Models(asr, llm, turn, engines.vad(), options)
    pauses: list[Pause] = []
    for number, clip in enumerate(said, 1):
        pauses += await pauses_of(models, clip)
        tell(f"asking the models: {number} of {len(said)} turns, {len(pauses)} pauses")
    for engine in (asr, llm, turn):
        await engine.unload()
    return Material(tuple(pauses), models.latencies())


async def all_clips(asr: Asr, tts: Tts, folder: Path, seed: int, tell: Progress) -> AsyncIterator[Clip]:
    """Every turn that is judged. `asr` tells when each word was said."""
    recorded = _sentences(_read_people(folder), "people")
    for clip in await _variants(asr, recorded, CUTS_OF_RECORDINGS, seed):
        yield clip
        yield clips.noisy(clip, seed)
    tell("speaking")
    synthetic = _sentences([(text, await spoken(tts, text, SPEECH_RATE_HZ)) for text in texts.FINISHED], "voice")
    for clip in [*await _variants(asr, synthetic, CUTS_OF_SPEECH, seed), *await _hesitations(tts, seed)]:
        yield clip
        if clip.kind not in ("cut", "joined"):
            yield clips.noisy(clip, seed)


async def _variants(asr: Asr, sentences: Sequence[Sentence], cuts: int, seed: int) -> list[Clip]:
    """Each sentence whole, cut, and followed by another one of its part."""
    made = [clips.whole(sentence) for sentence in sentences]
    for sentence in sentences:
        words = (await asr.transcribe(sentence.audio)).words
        made += clips.cuts(sentence, words, cuts, seed)
    for held_out in (False, True):
        part = [sentence for sentence in sentences if sentence.held_out is held_out and len(sentence.audio) < 80_000]
        made += [clips.joined(first, second, seed) for first, second in zip(part, part[1:] + part[:1], strict=True)]
    return made


async def _hesitations(tts: Tts, seed: int) -> list[Clip]:
    made = []
    begun = [(text, await spoken(tts, text, SPEECH_RATE_HZ)) for text, _ in texts.UNFINISHED]
    for first, (_, rest) in zip(_sentences(begun, "voice"), texts.UNFINISHED, strict=True):
        audio = clips.trimmed(await spoken(tts, rest, SPEECH_RATE_HZ))
        made.append(clips.paused(first, audio, seed, "unfinished"))
    return made


def _sentences(said: Sequence[tuple[str, Pcm]], source: str) -> list[Sentence]:
    return [
        Sentence(name, source, clips.is_held_out(index), clips.trimmed(audio))
        for index, (name, audio) in enumerate(said)
    ]


def _recordings(folder: Path) -> list[Path]:
    """Those that `transcripts.tsv` names: others are noise and rooms."""
    table = folder / "transcripts.tsv"
    if not table.is_file():
        return []
    with table.open(encoding="utf-8") as lines:
        return [folder / row["file"] for row in csv.DictReader(lines, delimiter="\t")]


def _read_people(folder: Path) -> list[tuple[str, Pcm]]:
    return [(path.name, audio) for path in _recordings(folder) if (audio := _read(path)) is not None]


def _read(path: Path) -> Pcm | None:
    """int16[n] at 16 kHz; None for a format that cannot be read here (FLAC needs the extra `dev`)."""
    if path.suffix == ".wav":
        return read_wav(path)
    try:
        import soundfile
    except ImportError:
        return None
    sound, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    return resample(np.ascontiguousarray(sound.mean(axis=1).astype(np.int16)), rate_hz, SPEECH_RATE_HZ)
