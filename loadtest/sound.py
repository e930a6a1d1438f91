"""Where a caller's sound comes from and goes to: every 20 ms a frame, of speech or of silence."""

import asyncio
from typing import Protocol

import numpy as np

from loadtest.recording import RATE_HZ
from loadtest.voiced import Pcm

FRAME_S = 0.02
FRAME_SAMPLES = RATE_HZ // 50


class Microphone(Protocol):
    def frame(self) -> Pcm:
        """The next 20 ms: int16[480] at 24 kHz; silence when there is nothing yet. Never waits."""
        ...


class Speaker(Protocol):
    def play(self, pcm: Pcm) -> None:
        """Some more to play after what still waits: int16[n] at 24 kHz. Never waits."""
        ...

    def stop(self) -> None:
        """Fall silent now and forget what waits."""
        ...


class Mouth:
    """What the caller is about to say, cut into frames of `frame_samples`; silence in between."""

    def __init__(self, frame_samples: int = FRAME_SAMPLES) -> None:
        self._frame_samples = frame_samples
        self._rest: Pcm = np.zeros(0, np.int16)
        self.finished = asyncio.Event()
        self.finished.set()

    def say(self, pcm: Pcm) -> None:
        self._rest = pcm
        self.finished.clear()

    def frame(self) -> Pcm:
        size = self._frame_samples
        frame, self._rest = self._rest[:size], self._rest[size:]
        if not len(self._rest):
            self.finished.set()
        return np.pad(frame, (0, size - len(frame)))
