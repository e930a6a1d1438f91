"""Smart Turn 3 (pipecat-ai/smart-turn, BSD-2): is the caller's turn over, judged by how the last 8 s sound.

The net is Whisper's encoder with a classifier. It takes the last 8 s, filled up with silence at their *start*, scaled
to mean 0 and variance 1, as log-mel features float32[1, 80, 800], and gives a probability float32[1, 1].
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from deployments.contracts import SPEECH_RATE_HZ, Capabilities, ModelFiles, Pcm
from deployments.errors import BadModel
from deployments.guard import only_file
from deployments.priority import stand_back
from deployments.turn.options import TurnOptions

Floats = NDArray[np.float32]

_SAMPLES = 8 * SPEECH_RATE_HZ
_FFT, _HOP, _MELS = 400, 160, 80  # Whisper's: windows of 25 ms every 10 ms
_FRAMES = _SAMPLES // _HOP


class SmartTurn:
    """One ONNX session and the threads that run it.

    A cancelled judgement returns at once; if it was running (less than 100 ms), the C++ call ends by itself. There are
    as many threads as the deployment lets judgements in, so that none waits here.
    """

    def __init__(self, session: onnxruntime.InferenceSession, options: TurnOptions) -> None:
        self._session = session
        self._pool = ThreadPoolExecutor(
            options.workers, thread_name_prefix="turn", initializer=stand_back, initargs=(options.niceness,)
        )

    @classmethod
    def load(cls, files: ModelFiles | None, options: TurnOptions) -> "SmartTurn":
        """`files`: one ONNX file. Raises BadModel."""
        path = only_file(files, ".onnx")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
        providers = (["CUDAExecutionProvider"] if options.gpus > 0 else []) + ["CPUExecutionProvider"]
        try:
            session = onnxruntime.InferenceSession(str(path), settings, providers=providers)
        except Exception as broken:  # onnxruntime has no base class for its errors
            raise BadModel(f"{options.model} cannot be loaded: {broken}") from broken
        if [node.name for node in session.get_inputs()] != ["input_features"]:
            raise BadModel(f"{path.name} is no Smart Turn 3 (its input is not input_features)")
        engine = cls(session, options)
        engine._judge(np.zeros(SPEECH_RATE_HZ, np.int16))
        return engine

    def capabilities(self) -> Capabilities:
        return Capabilities(rate_hz=SPEECH_RATE_HZ)

    async def unload(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        del self._session

    async def end_of_turn(self, audio: Pcm) -> float:
        """int16[n] at 16 kHz, of which the last 8 s count -> probability that the turn is over."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._judge, audio)

    def _judge(self, audio: Pcm) -> float:
        [probabilities] = self._session.run(None, {"input_features": log_mel(audio)[np.newaxis]})
        return float(probabilities[0, 0])


def log_mel(audio: Pcm) -> Floats:
    """int16[n] at 16 kHz -> float32[80, 800], as transformers' WhisperFeatureExtractor computes them.

    The filling at the start is one value throughout, so all of its frames are alike and only one is computed.
    """
    sound = audio[-_SAMPLES:].astype(np.float32)
    filling = _SAMPLES - len(sound)
    mean = sound.sum(dtype=np.float64) / _SAMPLES
    deviation = np.sqrt((sound.astype(np.float64) ** 2).sum() / _SAMPLES - mean**2 + 1e-7 * 32768**2)
    alike = max(filling // _HOP - 2, 0)  # frames that end before the sound begins, but for the one that is computed
    scaled = np.pad((sound - mean) / deviation, (filling - alike * _HOP, 0), constant_values=-mean / deviation)
    mel = _mel_powers(scaled.astype(np.float32))
    log = np.log10(np.maximum(np.hstack([np.repeat(mel[:, :1], alike, axis=1), mel]), 1e-10))
    features: Floats = (np.maximum(log, log.max() - 8) + 4) / 4
    return features


def _mel_powers(samples: Floats) -> Floats:
    """float32[n] -> float32[80, n / 160]: the power in each band, in windows centred every 160 samples."""
    padded = np.pad(samples, _FFT // 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[: len(samples) : _HOP]
    spectrum = np.fft.rfft(windows * _WINDOW)  # complex64: numpy keeps the precision of its input
    powers: Floats = _BANDS @ (spectrum.real**2 + spectrum.imag**2).T.astype(np.float32)
    return powers


def _slaney_bands() -> Floats:
    """float32[80, 201]: triangles of equal area, evenly spaced on Slaney's mel scale (Auditory Toolbox, 1998)."""
    mels = np.linspace(0, 15 + 27 * np.log(8) / np.log(6.4), _MELS + 2)  # 8 kHz; linear below 1 kHz, which is 15
    corners_hz = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    slopes = corners_hz[:, None] - np.fft.rfftfreq(_FFT, 1 / SPEECH_RATE_HZ)
    widths = np.diff(corners_hz)[:, None]
    triangles = np.maximum(0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    bands: Floats = (triangles * 2 / (corners_hz[2:] - corners_hz[:-2])[:, None]).astype(np.float32)
    return bands


_BANDS = _slaney_bands()
_WINDOW = np.hanning(_FFT + 1)[:-1].astype(np.float32)
