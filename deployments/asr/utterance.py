"""Sound and text of an utterance, looked at without a model."""

import math
import re
from collections.abc import Iterator

import numpy as np

from deployments.audio import to_float
from deployments.contracts import SPEECH_RATE_HZ, Pcm

_STEP = SPEECH_RATE_HZ // 50  # 20 ms
_PAUSE_STEPS = 10  # 200 ms: a gap inside a word is shorter
_SEARCHED = 0.4  # of a window, at its end, is searched for the best place to cut
_REPEATED_WORDS = 4
_SINGLE_REPEATS = 5


def is_silent(audio: Pcm, below_dbfs: float) -> bool:
    """Is the loudest 20 ms of int16[n] at 16 kHz quieter than this (RMS, against full scale)? True for no audio."""
    powers = _powers(audio)
    return not len(powers) or 10 * math.log10(max(float(powers.max()), 1e-12)) < below_dbfs


def split(audio: Pcm, longest: int) -> Iterator[Pcm]:
    """Cut int16[n] into windows of at most `longest` samples, in the middle of the quietest 200 ms near each end.

    Nothing is lost: the windows are the audio, one after the other.
    """
    while len(audio) > longest:
        searched_from = round(longest * (1 - _SEARCHED))
        powers = _powers(audio[searched_from:longest])
        pauses = np.convolve(powers, np.ones(_PAUSE_STEPS), mode="valid")
        latest = len(pauses) - 1 - int(np.argmin(pauses[::-1]))
        cut = searched_from + (latest + _PAUSE_STEPS // 2) * _STEP
        yield audio[:cut]
        audio = audio[cut:]
    if len(audio):
        yield audio


def repeats_itself(text: str) -> bool:
    """Does a run of four words come twice, or one word five times in a row, or does it end in three that were there?

    Case and punctuation aside. The last is how a text looks that the n-gram block broke off. People do say things
    twice; what is found here is only worth a second look.
    """
    words = re.findall(r"\w+(?:'\w+)*", text.lower())
    longer, shorter = _runs(words, _REPEATED_WORDS), _runs(words, _REPEATED_WORDS - 1)
    same = any(len(set(run)) == 1 for run in _runs(words, _SINGLE_REPEATS))
    return len(set(longer)) < len(longer) or same or (bool(shorter) and shorter[-1] in shorter[:-1])


def before_repeating(text: str) -> str:
    """Up to the first run of three words that was there before: "At that time, at that time." -> "At that time,"."""
    words = list(re.finditer(r"\w+(?:'\w+)*", text))
    runs = _runs([word.group().lower() for word in words], _REPEATED_WORDS - 1)
    again = next((at for at, run in enumerate(runs) if run in runs[:at]), None)
    return text if again is None else text[: words[again].start()].rstrip()


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    return [tuple(words[first : first + length]) for first in range(len(words) - length + 1)]


def _powers(audio: Pcm) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Mean power in each 20 ms, full scale 1; an incomplete one at the end is filled with silence."""
    samples = np.pad(to_float(audio), (0, -len(audio) % _STEP)).reshape(-1, _STEP)
    powers: np.ndarray[tuple[int], np.dtype[np.float32]] = np.mean(samples**2, axis=1)
    return powers
