"""A microphone into which several sounds fall: what is said, noise, and the echo of what is heard."""

import numpy as np
from numpy.typing import NDArray

from loadtest.recording import RATE_HZ, Track
from loadtest.sound import FRAME_SAMPLES
from loadtest.voiced import Pcm


class Mixer:
    """Give it to a caller as `microphone`, then `hear` the caller's recording of the agent. Times are samples of the
    call's clock, from the microphone's first frame.

    `bed` sounds again and again, int16[n]. `echo` is (delay in ms, level in dB): so late and so loud
    comes back what is heard.
    """

    def __init__(self, bed: Pcm | None = None, echo: tuple[int, float] | None = None) -> None:
        self._bed = bed
        self._delay = echo[0] * RATE_HZ // 1000 if echo else 0
        self._gain = 10 ** (echo[1] / 20) if echo else 0.0
        self._heard: Track | None = None
        self._placed: list[tuple[int, Pcm]] = []
        self.at = 0
        """Where the next frame begins."""

    def hear(self, track: Track) -> None:
        self._heard = track

    def place(self, pcm: Pcm) -> int:
        """It sounds from the next frame on, over whatever else does. Returns its first sample's time."""
        self._placed.append((self.at, pcm))
        return self.at

    def frame(self) -> Pcm:
        """The next 20 ms: int16[480] at 24 kHz."""
        mixed = self._echo() + self._noise()
        for first, pcm in self._placed:
            part = pcm[self.at - first : self.at - first + FRAME_SAMPLES]
            mixed[: len(part)] += part
        self.at += FRAME_SAMPLES
        self._placed = [(first, pcm) for first, pcm in self._placed if first + len(pcm) > self.at]
        return np.clip(np.round(mixed), -32768, 32767).astype(np.int16)

    def _echo(self) -> NDArray[np.float64]:
        first = self.at - self._delay
        if self._heard is None or not self._gain or first < 0:
            return np.zeros(FRAME_SAMPLES)
        return self._heard.read(first, first + FRAME_SAMPLES).astype(np.float64) * self._gain

    def _noise(self) -> NDArray[np.float64]:
        if self._bed is None:
            return np.zeros(FRAME_SAMPLES)
        return np.take(self._bed, np.arange(self.at, self.at + FRAME_SAMPLES), mode="wrap").astype(np.float64)
