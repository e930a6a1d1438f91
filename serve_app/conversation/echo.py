"""Is this sound our own voice coming back? Pure: what was played, what was heard, and how alike they are.

What was heard is compared with what was played at every delay, in two ways that fail differently. The bands' complex
envelopes match only at the true delay (a coherence, as in delay estimation by cross-correlation: Knapp & Carter 1976),
but reverberation smears them. The bands' loudness, let ring like a room, survives reverberation, but any two syllables
look somewhat alike. Their product at the same delay has to beat what chance gives for so short a sound.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.contracts import SPEECH_RATE_HZ, Pcm

DELAY_MS = 800
"""The longest way back: 80-250 ms in devices and rooms, the network twice, and a client's buffer."""
HEARD_MS = 480
"""As much of the sound is looked at: enough to be sure in a reverberant room."""
KEPT_S = 30.0
"""Sound kept, played or still in the client's buffer: about the longest answer."""
JITTER_S = 0.1
"""Frames that come late by less than this sound without a gap: the transport has asked for them ahead."""

_LOW_HZ, _BAND_HZ, _BANDS = 300, 400, 8  # 300-3500 Hz: what telephones and small loudspeakers pass
_POINTS = (DELAY_MS + HEARD_MS) * _BAND_HZ // 1000  # a band's samples, 2.5 ms each
_SPAN = _POINTS * SPEECH_RATE_HZ // _BAND_HZ  # the same time at 16 kHz
_CHANCE_MS = 90  # by chance unrelated speech reaches 90 ms / length: 98 % of the pairs tried, at 128-448 ms
_SMOOTH = np.hanning(9)[1:-1] / 4  # 15 ms
_RING = np.exp(-np.arange(_POINTS) / 20)  # power falls to 1/e in 50 ms: a furnished room

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]


@dataclass(slots=True)
class _Piece:
    first_s: float
    pcm: Pcm


class PlayedMemory:
    """What the caller's side was given to play, and when it sounds. Pieces are kept, not copied.

    What is given plays after what was given before, or at once where that has ended.
    """

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._pieces: deque[_Piece] = deque()
        self._ends_s = 0.0

    def push(self, pcm: Pcm, at_s: float) -> None:
        """int16[n] at `rate_hz`, handed over now."""
        first_s = at_s if at_s > self._ends_s + JITTER_S else self._ends_s
        self._pieces.append(_Piece(first_s, pcm))
        self._ends_s = first_s + len(pcm) / self.rate_hz
        forgotten_s = max(at_s - 2 * (DELAY_MS + HEARD_MS) / 1000, self._ends_s - KEPT_S)
        while len(self._pieces) > 1 and self._pieces[1].first_s <= forgotten_s:
            self._pieces.popleft()

    def take_back(self, samples: int) -> None:
        """So many of the last samples were never played."""
        while samples > 0 and self._pieces:
            last = self._pieces[-1]
            kept = max(0, len(last.pcm) - samples)
            samples -= len(last.pcm) - kept
            last.pcm = last.pcm[:kept]
            self._ends_s = last.first_s + kept / self.rate_hz
            if not kept:
                self._pieces.pop()

    def between(self, first_s: float, end_s: float) -> Pcm:
        """What sounded then: int16[n] at `rate_hz`, silence where nothing was played."""
        sound = np.zeros(max(0, round((end_s - first_s) * self.rate_hz)), np.int16)
        for piece in self._pieces:
            first = round((piece.first_s - first_s) * self.rate_hz)
            part = piece.pcm[max(0, -first) : max(0, len(sound) - first)]
            sound[max(0, first) : max(0, first) + len(part)] = part
        return sound


def likeness(heard: Pcm, played: Pcm) -> float:
    """From 0 to 1, how surely `heard` is an echo of `played`; from .5 on chance hardly explains it.

    Both int16[n] at 16 kHz, ending at the same time; `played` begins up to `DELAY_MS` earlier, and of `heard` the
    last `HEARD_MS` count.
    """
    heard = heard[-HEARD_MS * SPEECH_RATE_HZ // 1000 :]
    points = len(heard) * _BAND_HZ // SPEECH_RATE_HZ
    if points < 2 or not heard.any() or not played.any():
        return 0.0
    span = len(heard) + DELAY_MS * SPEECH_RATE_HZ // 1000
    played = np.pad(played[-span:], (max(0, span - len(played)), 0))
    there, back = _bins(played), _bins(heard)
    weights = np.sqrt(np.sum(np.abs(back) ** 2, axis=1))
    weights /= max(float(weights.sum()), 1e-12)
    lags = len(played) * _BAND_HZ // SPEECH_RATE_HZ - points + 1
    coherence = weights @ _coherence(there, back, points, lags)
    alike = weights @ _loudness_alike(there, back, points, lags)
    score = float(np.max(np.sqrt(coherence) * alike))
    chance = _CHANCE_MS * SPEECH_RATE_HZ / 1000 / max(len(heard), 1)
    return score / (score + chance)


def _bins(pcm: Pcm) -> Complex:
    """int16[n], n <= _SPAN -> the spectrum of each band moved down to 0 Hz: complex[_BANDS, _POINTS]."""
    first = _LOW_HZ * _SPAN // SPEECH_RATE_HZ
    spectrum = np.fft.rfft(pcm / 32768.0, _SPAN)
    bins: Complex = spectrum[first : first + _BANDS * _POINTS].reshape(_BANDS, _POINTS)
    return bins


def _coherence(there: Complex, back: Complex, points: int, lags: int) -> Real:
    """Share of each band's energy that what was played explains, by lag: float[_BANDS, lags] in [0, 1]."""
    matched = np.abs(np.fft.ifft(there * back.conj(), axis=1)[:, :lags]) ** 2
    energy = _sums(np.abs(np.fft.ifft(there, axis=1)) ** 2, points, lags)
    heard = np.sum(np.abs(np.fft.ifft(back, axis=1)) ** 2, axis=1, keepdims=True)
    return _share(matched, energy * heard)


def _loudness_alike(there: Complex, back: Complex, points: int, lags: int) -> Real:
    """Correlation of each band's amplitude over time, by lag: float[_BANDS, lags] in [0, 1]."""
    sounded = np.sqrt(_filtered(_power(there), _RING))
    heard = np.sqrt(_power(back)[:, :points])
    heard -= heard.mean(axis=1, keepdims=True)
    matched = np.fft.irfft(np.fft.rfft(sounded) * np.fft.rfft(heard, _POINTS).conj(), _POINTS)[:, :lags]
    spread = _sums(sounded**2, points, lags) - _sums(sounded, points, lags) ** 2 / points
    scale = np.sqrt(np.maximum(spread, 0) * np.sum(heard**2, axis=1, keepdims=True))
    return _share(np.maximum(matched, 0), scale)


def _power(bins: Complex) -> Real:
    power = np.abs(np.fft.ifft(bins, axis=1)) ** 2
    return np.stack([np.convolve(band, _SMOOTH, "same") for band in power])


def _filtered(power: Real, response: Real) -> Real:
    size = 2 * _POINTS
    spectrum = np.fft.rfft(power, size) * np.fft.rfft(response, size)
    return np.maximum(np.fft.irfft(spectrum, size)[:, :_POINTS], 0)


def _sums(values: Real, points: int, lags: int) -> Real:
    """Of every `points` values in a row."""
    total = np.pad(np.cumsum(values, axis=1), ((0, 0), (1, 0)))
    sums: Real = total[:, points : points + lags] - total[:, :lags]
    return sums


def _share(part: Real, whole: Real) -> Real:
    floor = 1e-6 * float(whole.max()) + 1e-24  # where hardly anything was played nothing is alike
    return np.clip(part / (whole + floor), 0.0, 1.0)
