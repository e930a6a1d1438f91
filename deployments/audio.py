"""Frames, sample formats, and the only resampler."""

from collections.abc import Iterator

import numpy as np
import soxr
from numpy.typing import NDArray

from deployments.contracts import Pcm

FRAME_MS = 20
"""The length of a frame. Opus, WebRTC and SIP all use 20 ms, so nothing has to be re-cut on its way out."""


def frame_samples(rate_hz: int) -> int:
    """Samples in one frame."""
    return rate_hz * FRAME_MS // 1000


def to_float(pcm: Pcm) -> NDArray[np.float32]:
    """int16[n] -> float32[n] in [-1, 1)."""
    return pcm.astype(np.float32) / 32768.0


def to_pcm(samples: NDArray[np.float32]) -> Pcm:
    """float32[n] in [-1, 1] -> int16[n]; what lies outside is clipped."""
    return (np.clip(samples, -1.0, 32767.0 / 32768.0) * 32768.0).astype(np.int16)


def duration_ms(pcm: Pcm, rate_hz: int) -> int:
    """How long the audio lasts, to the nearest millisecond."""
    return round(len(pcm) * 1000 / rate_hz)


class Resampler:
    """A mono stream from one rate to another, chunk by chunk, without clicks at the seams."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        self._stream = None if from_hz == to_hz else soxr.ResampleStream(from_hz, to_hz, 1, dtype="int16", quality="HQ")

    def push(self, pcm: Pcm, *, last: bool = False) -> Pcm:
        """int16[n] -> int16[m]. `last` flushes the filter's tail."""
        if self._stream is None:
            return pcm
        out: Pcm = self._stream.resample_chunk(pcm, last=last)
        return out


def resample(pcm: Pcm, from_hz: int, to_hz: int) -> Pcm:
    """A whole recording at once: int16[n] -> int16[n * to_hz / from_hz]."""
    if from_hz == to_hz:
        return pcm
    out: Pcm = soxr.resample(pcm, from_hz, to_hz, quality="HQ")
    return out


def frames(pcm: Pcm, rate_hz: int) -> Iterator[Pcm]:
    """Cut a recording into frames; the last one is filled up with silence."""
    size = frame_samples(rate_hz)
    for first in range(0, len(pcm), size):
        frame = pcm[first : first + size]
        yield frame if len(frame) == size else np.pad(frame, (0, size - len(frame)))
