"""Text as sound, so that the whole system can be run and tested without a model.

Each character is one chord of 60 ms: a low and a high note of the C major pentatonic scale between 440 and 3136 Hz,
as a telephone's keys are two notes each (ITU-T Q.23), with soft edges and a dip between chords that keeps "ll" two
letters. It survives resampling, G.711, noise, silence around it and being cut; a voice sees no pause in it.
"""

import unicodedata

import numpy as np
from numpy.typing import NDArray

from deployments.audio import resample, to_float, to_pcm
from deployments.contracts import SPEECH_RATE_HZ, Pcm

CHARACTERS = " abcdefghijklmnopqrstuvwxyz0123456789.,?!'\"-:;()/"
"""What can be said: 7 x 7 characters, one for each pair of notes."""

TONE_MS = 60
EDGE_MS, GAP_MS = 8, 12  # of each tone; the gap is shorter than any voice detector's window
PAUSE_MS = 200  # a longer silence between two tones is read as a space: the phrases of an answer are apart

_LOW_HZ = np.array([440.0, 523.25, 587.33, 659.26, 783.99, 880.0, 1046.5])  # A4 C5 D5 E5 G5 A5 C6
_HIGH_HZ = np.array([1318.5, 1568.0, 1760.0, 2093.0, 2349.3, 2637.0, 3136.0])  # E6 G6 A6 C7 D7 E7 G7
_AMPLITUDE = 0.2  # of each note: about as loud as speech

_PLAIN = str.maketrans("’‘“”–—\N{HYPHEN}\N{NON-BREAKING HYPHEN}[]{}", "''\"\"----()()")


def audible(text: str) -> str:
    """`text` as it comes back from `decode(encode(text))`.

    Lower case, without accents, typographic quotes and dashes made plain, any run of white space one space, none at
    the ends; characters with no tone are dropped.
    """
    plain = unicodedata.normalize("NFKD", " ".join(text.split())).translate(_PLAIN).lower()
    return " ".join("".join(character for character in plain if character in CHARACTERS).split())


def encode(text: str, rate_hz: int) -> Pcm:
    """The sound of `audible(text)`: int16[n] at `rate_hz` (8 kHz or more), 60 ms a character."""
    tones = {character: _tone(CHARACTERS.index(character), rate_hz) for character in set(audible(text))}
    return np.concatenate([np.zeros(0, np.int16), *(tones[character] for character in audible(text))])


def decode(audio: Pcm, rate_hz: int = SPEECH_RATE_HZ) -> str:
    """The text in int16[n] at `rate_hz`; "" where there are no tones, as in speech, noise or silence.

    Audio that was cut at its end gives a prefix of the text.
    """
    samples = to_float(resample(audio, rate_hz, SPEECH_RATE_HZ))
    if len(samples) < _WINDOW:
        return ""
    middles = _bursts(samples)
    middles = middles[(middles >= _WINDOW // 2) & (middles <= len(samples) - _WINDOW // 2)]
    symbols = _symbols(samples[middles[:, None] + np.arange(-_WINDOW // 2, _WINDOW // 2)])
    return _spell(symbols[symbols >= 0], middles[symbols >= 0])


def _tone(symbol: int, rate_hz: int) -> Pcm:
    """int16[n] of `TONE_MS`: half of the gap, the chord, the other half."""
    seconds = np.arange(rate_hz * TONE_MS // 1000) / rate_hz
    notes = np.array([_LOW_HZ[symbol // 7], _HIGH_HZ[symbol % 7]])
    from_outside_ms = TONE_MS / 2 - np.abs(seconds * 1000 - TONE_MS / 2)
    rise = np.clip((from_outside_ms - GAP_MS / 2) / EDGE_MS, 0, 1)
    chord = _AMPLITUDE * np.sin(2 * np.pi * notes[:, None] * seconds).sum(axis=0)
    return to_pcm((chord * np.sin(rise * np.pi / 2) ** 2).astype(np.float32))


# --- decoding, all at 16 kHz

_HOP = 32  # 2 ms
_NEAR = 40  # hops to each side (80 ms) among which the loudest is what "loud" means
_WINDOW = 576  # 36 ms: inside the tone, and long enough to tell notes 60 Hz apart
_SHORTEST_MS, _LONGEST_MS = 30, 56  # a whole tone is loud for about 42 ms
_PURITY = 0.75  # share of the energy that the two notes must have: 1 when clean, .99 at 20 dB of noise
_TWIST = 0.1  # the weaker note's energy to the stronger one's, at least

_HANN = np.hanning(_WINDOW).astype(np.float32)
_ANGLES = 2 * np.pi * np.arange(_WINDOW)[:, None] * np.concatenate([_LOW_HZ, _HIGH_HZ]) / SPEECH_RATE_HZ
_WEIGHTS = _HANN[:, None] * np.sqrt(2 * np.sum(_HANN**2)) / np.sum(_HANN)  # a lone note's share of the energy is 1
_BASIS = (np.hstack([np.cos(_ANGLES), np.sin(_ANGLES)]) * _WEIGHTS).astype(np.float32)


def _bursts(samples: NDArray[np.float32]) -> NDArray[np.intp]:
    """The middle samples of all sounds as long as a tone: louder than a quarter of the loudest energy near them."""
    hops = len(samples) // _HOP
    energy = np.einsum("ij,ij->i", *[samples[: hops * _HOP].reshape(hops, _HOP)] * 2)
    energy = np.convolve(energy, [0.2, 0.3, 0.3, 0.2])  # 8 ms: the beats between two notes disappear
    around = np.lib.stride_tricks.sliding_window_view(np.pad(energy, _NEAR), 2 * _NEAR + 1)
    loud = np.concatenate([[False], energy > np.maximum(around.max(axis=1) / 4, 1e-7), [False]])
    starts, ends = np.flatnonzero(loud[1:] & ~loud[:-1]), np.flatnonzero(loud[:-1] & ~loud[1:])
    lengths_ms = (ends - starts) * 1000 * _HOP // SPEECH_RATE_HZ
    fits = (lengths_ms >= _SHORTEST_MS) & (lengths_ms <= _LONGEST_MS)
    delay = 3 * _HOP // 2  # of the smoothing
    middles: NDArray[np.intp] = (starts[fits] + ends[fits]) * _HOP // 2 - delay
    return middles


def _symbols(windows: NDArray[np.float32]) -> NDArray[np.intp]:
    """float32[n, 576] -> the symbol in each window, -1 where there is none."""
    total = windows**2 @ _HANN**2
    parts = (windows @ _BASIS).reshape(len(windows), 2, 14)
    shares = np.sum(parts**2, axis=1) / np.maximum(total, 1e-12)[:, None]
    low, high = shares[:, :7], shares[:, 7:]
    weaker, stronger = np.sort([low.max(axis=1), high.max(axis=1)], axis=0)
    clear = (weaker + stronger > _PURITY) & (weaker > _TWIST * stronger)
    symbols: NDArray[np.intp] = np.where(clear, low.argmax(axis=1) * 7 + high.argmax(axis=1), -1)
    return symbols


def _spell(symbols: NDArray[np.intp], middles: NDArray[np.intp]) -> str:
    longest = (TONE_MS + PAUSE_MS) * SPEECH_RATE_HZ // 1000
    pauses = np.diff(middles, prepend=middles[:1]) > longest
    text = "".join(" " * bool(pause) + CHARACTERS[symbol] for symbol, pause in zip(symbols, pauses, strict=True))
    return " ".join(text.split())
