"""Speech as models make it -> speech as it is played: one loudness, and silence as long as it is wanted."""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

PEAK = 0.8
"""What is louder is bent towards 1, and never reaches it."""
LOUDNESS = 0.1
"""Root mean square of what is audible."""
_AUDIBLE = 0.008  # 40 dB below PEAK is silence
_FADE_MS = 3  # against clicks where silence was cut


def level(samples: Samples) -> float:
    """The loudness of speech: root mean square of float32[n] without its silence, 40 dB below its peak; 0 without any
    sound."""
    size = np.abs(samples)
    loud = samples[size > size.max(initial=0.0) / 100]
    return float(np.sqrt(np.mean(loud**2))) if len(loud) else 0.0


def limited(samples: Samples) -> Samples:
    """Bend what exceeds `PEAK`."""
    size = np.abs(samples)
    if size.max(initial=0.0) <= PEAK:
        return samples
    bent = PEAK + (1 - PEAK) * np.tanh((size - PEAK) / (1 - PEAK))
    return np.where(size > PEAK, np.copysign(bent, samples), samples).astype(np.float32)


class Trimmer:
    """Of one phrase that comes in pieces. Silence before and after it is cut to what is asked, silence within it stays:
    it is given when sound follows it."""

    def __init__(self, rate_hz: int, lead_ms: float, pause_ms: float) -> None:
        self._fade = int(_FADE_MS * rate_hz / 1000)
        self._lead, self._pause = (max(0, int((ms - _FADE_MS) * rate_hz / 1000)) for ms in (lead_ms, pause_ms))
        self._held = np.zeros(0, np.float32)
        self._begun = False

    def push(self, samples: Samples) -> Samples:
        """float32[n] more -> float32[m] that is surely wanted."""
        held = np.concatenate([self._held, samples])
        loud = np.flatnonzero(np.abs(held) > _AUDIBLE)
        if not len(loud):
            self._held = held if self._begun else held[len(held) - min(len(held), self._fade) :]
            return np.zeros(0, np.float32)
        first, end = 0, loud[-1] + 1
        if not self._begun:
            first = max(0, loud[0] - self._fade)
        self._held, given = held[end:], held[first:end].copy()
        if not self._begun:
            self._begun = True
            rising = given[: self._fade]
            rising *= np.linspace(0, 1, self._fade, dtype=np.float32)[: len(rising)]
            given = np.pad(given, (self._lead, 0))
        return given

    def end(self) -> Samples:
        """There will be no more -> the rest; nothing where there was no sound."""
        if not self._begun:
            return np.zeros(0, np.float32)
        falling = self._held[: self._fade]
        return np.pad(falling * np.linspace(1, 0, len(falling), dtype=np.float32), (0, self._pause))
