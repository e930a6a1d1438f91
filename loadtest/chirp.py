"""A sound that is easy to find again, and the time it took: the delay of a path, by cross-correlation."""

import numpy as np

from loadtest.recording import RATE_HZ
from loadtest.voiced import Pcm

LENGTH_S = 0.06
LOW_HZ, HIGH_HZ = 400.0, 3400.0  # what passes every codec
AMPLITUDE = 12_000
SURE = 0.5
"""Least likeness of what was found to what was sent, 1 being the same: noise and other sounds stay below .2."""


def chirp() -> Pcm:
    """int16[n] at 24 kHz: a tone that rises, with soft edges."""
    seconds = np.arange(round(LENGTH_S * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (LOW_HZ * seconds + (HIGH_HZ - LOW_HZ) / (2 * LENGTH_S) * seconds**2)
    return (AMPLITUDE * np.hanning(len(seconds)) * np.sin(phase)).astype(np.int16)


def delay_ms(sent: Pcm, received: Pcm) -> float | None:
    """How far into `received` (int16[n] at 24 kHz) `sent` begins, in ms; None where it is not in there."""
    if len(received) < len(sent):
        return None
    wanted, sound = sent.astype(np.float64), received.astype(np.float64)
    size = len(sound) + len(wanted) - 1
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(wanted, size))
    likeness = np.fft.irfft(spectrum, size)[: len(sound) - len(wanted) + 1]
    energy = np.convolve(sound**2, np.ones(len(wanted)), "valid")
    floor = 1e-3 * float(np.sum(wanted**2))  # so that silence is like nothing
    likeness = likeness / np.sqrt(np.maximum(energy, floor) * np.sum(wanted**2))
    best = int(np.argmax(likeness))
    return best * 1000 / RATE_HZ if likeness[best] >= SURE else None
