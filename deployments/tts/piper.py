"""Piper voices (VITS, https://github.com/OHF-Voice/piper1-gpl) on the CPU, by onnxruntime."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from piper.config import PiperConfig
from piper.voice import PiperVoice

from deployments.audio import to_pcm
from deployments.contracts import AudioChunk, Capabilities, ModelFiles, Pcm
from deployments.errors import BadModel, ModelFailed
from deployments.priority import gently
from deployments.tts.options import TtsOptions

PAUSE_MS = {".": 250, "!": 250, "?": 250, ":": 180, ";": 180, ",": 120}  # what readers leave; Piper leaves 120-180
NO_PAUSE_MS = 20  # a phrase that ends in the middle of a sentence is gone on with at once
LONGEST_PIECE = 110  # phonemes made in one run: about 6 s, so that the first of a long sentence is there soon
_PEAK = 0.8  # every piece is made as loud as this, as Piper does with 1.0; the rest is room for resampling
_AUDIBLE = 0.01  # of the peak: 40 dB below it is silence
_NICENESS = 10  # of a load: a tenth of the time where somebody else wants it, as for the LLM's threads
_FADE_MS = 3  # against clicks where silence was cut


class PiperTts:
    """One voice model, with one or many speakers.

    A stream is made piece by piece: sentences, and clauses of long ones. Cancelling it ends the run under way at
    onnxruntime's next operator, within some 30 ms.
    """

    def __init__(self, model_id: str, voice: PiperVoice, options: TtsOptions) -> None:
        self._voice = voice
        self._options = options
        self._speakers = _speakers(model_id, voice.config)
        self._workers = ThreadPoolExecutor(options.concurrency, "piper")  # the deployment lets as many streams in

    @classmethod
    def load(cls, files: ModelFiles | None, options: TtsOptions) -> "PiperTts":
        """Read `model.onnx` and `model.onnx.json` and speak once. Raises BadModel where they are not a voice."""
        files = _needed(files, options)
        config = _reading(files, "model.onnx.json", _config)
        session = _reading(files, "model.onnx", lambda path: _session(path, options.threads))
        engine = cls(files.id, PiperVoice(session=session, config=config), options)
        _reading(files, "model.onnx", lambda _: engine._warm_up())
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
        for phonemes in await self._read(text):
            pcm = await self._made(phonemes, speaker, speed)
            yield AudioChunk(pcm, self._voice.config.sample_rate)

    async def unload(self) -> None:
        await asyncio.to_thread(self._workers.shutdown, cancel_futures=True)
        del self._voice

    async def _read(self, text: str) -> list[list[str]]:
        try:
            return await asyncio.to_thread(self._pieces, text)
        except Exception as broken:
            raise ModelFailed(f"{self._options.model} could not read the text: {_first_line(broken)}") from broken

    async def _made(self, phonemes: list[str], speaker: int | None, speed: float) -> Pcm:
        run = onnxruntime.RunOptions()
        try:
            return await asyncio.wrap_future(self._workers.submit(self._make, phonemes, speaker, speed, run))
        except Exception as broken:
            raise ModelFailed(f"{self._options.model} could not speak: {_first_line(broken)}") from broken
        finally:
            run.terminate = True  # ends a run that nobody waits for any more

    def _pieces(self, text: str) -> list[list[str]]:
        """Phonemes to be made in one run each. Piper holds a lock meanwhile: espeak-ng is one for the process."""
        sentences = self._voice.phonemize(text)
        pieces = (piece for sentence in sentences for piece in in_pieces(sentence, LONGEST_PIECE))
        return [piece for piece in pieces if any(phoneme.isalnum() for phoneme in piece)]

    def _make(self, phonemes: list[str], speaker: int | None, speed: float, run: Any = None) -> Pcm:
        """One run of the network: phonemes -> int16[n] at the voice's rate."""
        config = self._voice.config
        ids = np.array([self._voice.phonemes_to_ids(phonemes)], dtype=np.int64)
        noise = np.array([config.noise_scale, config.noise_w_scale]) * self._options.variation
        inputs = {
            "input": ids,
            "input_lengths": np.array([ids.shape[1]], dtype=np.int64),
            "scales": np.array([noise[0], config.length_scale / speed, noise[1]], dtype=np.float32),
        }
        if config.num_speakers > 1:
            inputs["sid"] = np.array([config.default_speaker_id if speaker is None else speaker], dtype=np.int64)
        samples = self._voice.session.run(None, inputs, run)[0].squeeze()
        ends_with = "".join(phonemes).rstrip()[-1:]
        pause_ms = PAUSE_MS.get(ends_with, NO_PAUSE_MS) / speed
        return to_pcm(trimmed(samples, config.sample_rate, self._options.lead_ms, pause_ms))

    def _warm_up(self) -> None:
        for piece in self._pieces("Good morning."):  # short: other voices may be speaking
            self._make(piece, None, 1.0)


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


def trimmed(samples: NDArray[np.float32], rate_hz: int, lead_ms: float, pause_ms: float) -> NDArray[np.float32]:
    """float32[n] -> float32[m] at one loudness, with `lead_ms` of silence before it and `pause_ms` after it."""
    peak = float(np.abs(samples).max(initial=0.0))
    loud = np.flatnonzero(np.abs(samples) > _AUDIBLE * peak)
    if not len(loud):
        return np.zeros(0, np.float32)
    fade = int(_FADE_MS * rate_hz / 1000)
    first, last = max(0, loud[0] - fade), min(len(samples), loud[-1] + 1 + fade)
    speech = samples[first:last] * (_PEAK / peak)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)[: len(speech)]
    speech[: len(ramp)] *= ramp
    speech[-len(ramp) :] *= ramp[::-1]
    lead, pause = (max(0, int((ms - _FADE_MS) * rate_hz / 1000)) for ms in (lead_ms, pause_ms))
    return np.pad(speech, (lead, pause))


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait would take a core from ASR and LLM between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Planning which of 2,500 tensors may share memory takes four fifths of the time that loading takes, a core that
    # voices which speak meanwhile need; without the plan neither memory nor speed are any different.
    options.enable_mem_reuse = False
    # Other voices may be speaking.
    session = gently(
        _NICENESS, lambda: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    )
    missing = {"input", "input_lengths", "scales"} - {each.name for each in session.get_inputs()}
    if missing:
        raise ValueError(f"it has no input {', '.join(sorted(missing))}")
    return session


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
