"""Piper voices (VITS, https://github.com/OHF-Voice/piper1-gpl) on the CPU, by onnxruntime."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from piper.config import PiperConfig
from piper.voice import PiperVoice

from deployments.audio import to_pcm
from deployments.contracts import AudioChunk, Capabilities, ModelFiles, Pcm
from deployments.errors import BadModel, ModelFailed
from deployments.tts.options import TtsOptions
from deployments.tts.trimming import LOUDNESS, Trimmer, level, limited
from deployments.tts.vits import Network, network

PAUSE_MS = {".": 250, "!": 250, "?": 250, ":": 180, ";": 180, ",": 120}  # what readers leave; Piper leaves 120-180
NO_PAUSE_MS = 20  # a phrase that ends in the middle of a sentence is gone on with at once
LONGEST_PIECE = 110  # phonemes read in one run: about 6 s, so that the first of a long sentence is there soon
SAMPLE = "Good morning."  # speakers are made as loud as they say this; short, since others may be speaking

Made = tuple[Pcm, bool]
"""Some sound, and whether it is a piece's last."""


class PiperTts:
    """One voice model, with one or many speakers.

    A stream is made piece by piece: sentences, and clauses of long ones, and these in windows where the network allows
    it. Cancelling it ends the run under way at onnxruntime's next operator, within some 30 ms.
    """

    def __init__(self, model_id: str, config: PiperConfig, network: Network, options: TtsOptions) -> None:
        self._voice = PiperVoice(session=None, config=config)  # reads; what it has read is given to the network
        self._network = network
        self._options = options
        self._gains: dict[int | None, float] = {}
        self._speakers = _speakers(model_id, config)
        self._workers = ThreadPoolExecutor(options.concurrency, "piper")  # the deployment lets as many streams in

    @classmethod
    def load(cls, files: ModelFiles | None, options: TtsOptions) -> "PiperTts":
        """Read `model.onnx` and `model.onnx.json` and speak once. Raises BadModel where they are not a voice."""
        files = _needed(files, options)
        config = _reading(files, "model.onnx.json", _config)
        voice = _reading(files, "model.onnx", lambda path: network(path, options.threads))
        engine = cls(files.id, config, voice, options)
        _reading(files, "model.onnx", lambda _: engine._gain(None))  # the first run is slow: not a caller's
        return engine

    @staticmethod
    def voices_of(files: ModelFiles | None, options: TtsOptions) -> tuple[str, ...]:
        """The voices of a model that is not loaded. Raises BadModel where `model.onnx.json` is no voice's."""
        files = _needed(files, options)
        return tuple(_reading(files, "model.onnx.json", lambda path: _speakers(files.id, _config(path))))

    def capabilities(self) -> Capabilities:
        config = self._voice.config
        return Capabilities((config.espeak_voice,), tuple(self._speakers), config.sample_rate, streaming=True)

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """See `contracts.Tts`. Raises ModelFailed where the model breaks."""
        speaker = self._speakers[voice] if voice else None
        pieces = await self._read(text)
        for number, phonemes in enumerate(pieces, 1):
            async with aclosing(self._made(phonemes, speaker, speed)) as made:
                async for pcm, last in made:
                    yield AudioChunk(pcm, self._voice.config.sample_rate, last and number == len(pieces))

    async def unload(self) -> None:
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._workers.shutdown(cancel_futures=True)
        del self._voice, self._network  # 14 ms, which nobody else should wait for

    async def _read(self, text: str) -> list[list[str]]:
        try:
            return await asyncio.to_thread(self._pieces, text)
        except Exception as broken:
            raise ModelFailed(f"{self._options.model} could not read the text: {_first_line(broken)}") from broken

    async def _made(self, phonemes: list[str], speaker: int | None, speed: float) -> AsyncGenerator[Made, None]:
        run = onnxruntime.RunOptions()
        made = self._make(phonemes, speaker, speed, run)
        try:
            while (some := await asyncio.wrap_future(self._workers.submit(next, made, None))) is not None:
                if len(some[0]):
                    yield some
        except Exception as broken:
            raise ModelFailed(f"{self._options.model} could not speak: {_first_line(broken)}") from broken
        finally:
            run.terminate = True  # ends a run that nobody waits for any more

    def _pieces(self, text: str) -> list[list[str]]:
        """Phonemes to be made in one run each. Piper holds a lock meanwhile: espeak-ng is one for the process."""
        sentences = self._voice.phonemize(text)
        pieces = (piece for sentence in sentences for piece in in_pieces(sentence, LONGEST_PIECE))
        return [piece for piece in pieces if any(phoneme.isalnum() for phoneme in piece)]

    def _make(self, phonemes: list[str], speaker: int | None, speed: float, run: Any) -> Iterator[Made]:
        """Phonemes -> int16[n] pieces at the voice's rate, each made when it is asked for."""
        gain, ends_with = self._gain(speaker), "".join(phonemes).rstrip()[-1:]
        pause_ms = PAUSE_MS.get(ends_with, NO_PAUSE_MS) / speed
        trimmer = Trimmer(self._voice.config.sample_rate, self._options.lead_ms, pause_ms)
        inputs = self._inputs(phonemes, speaker, speed, self._options.variation)
        for samples, last in self._network.sound(inputs, run):
            sound = trimmer.push(limited(samples * gain))
            yield to_pcm(np.concatenate([sound, trimmer.end()]) if last else sound), last

    def _gain(self, speaker: int | None) -> float:
        """What makes this speaker as loud as any other. Measured once, on words that are always said the same way."""
        if speaker not in self._gains:
            pieces = [self._inputs(phonemes, speaker, 1.0, variation=0) for phonemes in self._pieces(SAMPLE)]
            sounds = [sound for inputs in pieces for sound, _ in self._network.sound(inputs)]
            said = level(np.concatenate(sounds)) if sounds else 0.0
            self._gains[speaker] = LOUDNESS / said if said else 1.0
        return self._gains[speaker]

    def _inputs(self, phonemes: list[str], speaker: int | None, speed: float, variation: float) -> dict[str, Any]:
        """Of the network."""
        config = self._voice.config
        ids = np.array([self._voice.phonemes_to_ids(phonemes)], dtype=np.int64)
        scales = [config.noise_scale * variation, config.length_scale / speed, config.noise_w_scale * variation]
        inputs = {
            "input": ids,
            "input_lengths": np.array([ids.shape[1]], dtype=np.int64),
            "scales": np.array(scales, dtype=np.float32),
        }
        if config.num_speakers > 1:
            inputs["sid"] = np.array([config.default_speaker_id if speaker is None else speaker], dtype=np.int64)
        return inputs


def in_pieces(phonemes: Sequence[str], longest: int) -> Iterator[list[str]]:
    """Cut a sentence where it is longer than `longest`: after the last clause that fits, else the last word."""
    rest = list(phonemes)
    while len(rest) > longest:
        for ends in (",;:", " "):
            cut = max((n for n in range(longest) if rest[n] in ends), default=-1) + 1
            if cut:
                break
        yield rest[: cut or longest]
        rest = rest[cut or longest :]
    yield rest


def _config(path: Path) -> PiperConfig:
    return PiperConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))


def _speakers(model_id: str, config: PiperConfig) -> dict[str, int | None]:
    """Voices and the network's numbers for them."""
    names = config.speaker_id_map if config.num_speakers > 1 else {}
    return {model_id: None} | {f"{model_id}/{name}": number for name, number in names.items()}


def _needed(files: ModelFiles | None, options: TtsOptions) -> ModelFiles:
    if files is None:
        raise BadModel(f"{options.model} has no files: a Piper voice needs model.onnx and model.onnx.json")
    return files


def _reading(files: ModelFiles, name: str, read: Callable[[Path], Any]) -> Any:
    """`read(path)`; whatever goes wrong in it is the file's fault, as onnxruntime and Piper raise all sorts."""
    try:
        return read(files.paths[name])
    except Exception as broken:
        raise BadModel(f"{files.id}: {name} is not a Piper voice's: {_first_line(broken)}") from broken


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
