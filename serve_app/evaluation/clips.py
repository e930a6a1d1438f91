"""Turns of a caller with their pauses, as sound: cut, joined, interrupted by a pause, and buried in noise. Pure."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

import numpy as np

from deployments.contracts import SPEECH_RATE_HZ, Pcm, Word
from serve_app.conversation.listening import samples

LEAD_MS = 300
"""Silence before the first word: voice activity detection needs some windows to settle."""
END_MS = 2500
"""Silence after the last word: longer than any question is asked in it."""
HESITATION_MS = (250, 1500)
"""People who search for a word are silent for about so long; short silences are more frequent."""
BETWEEN_SENTENCES_MS = (300, 900)
NOISE_DB = 10.0
HELD_OUT = (1, 3)
"""Of each five sentences, which are kept apart. Whatever is made from a sentence goes where the sentence goes."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something said without a break. `audio`: int16[n] at 16 kHz, the silence around it cut off."""

    name: str
    source: str
    held_out: bool
    audio: Pcm


@dataclass(frozen=True, slots=True)
class Clip:
    """One turn from its first word to the silence after its last: int16[n] at 16 kHz.

    `kind` is that of the pause which was put in at sample `pause_at`; of others the voice detector tells.
    """

    name: str
    source: str
    held_out: bool
    audio: Pcm
    kind: str = ""
    pause_at: int | None = None


def is_held_out(index: int) -> bool:
    return index % 5 in HELD_OUT


def chance(seed: int, name: str) -> np.random.Generator:
    """Of this case alone: more cases leave the others as they are."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def whole(sentence: Sentence) -> Clip:
    return Clip(sentence.name, sentence.source, sentence.held_out, _between_silences([sentence.audio]))


def paused(first: Sentence, rest: Pcm, seed: int, kind: str) -> Clip:
    """`first`, a hesitation, and the rest of what is said."""
    shortest, longest = map(log, HESITATION_MS)
    pause_ms = float(np.exp(chance(seed, first.name).uniform(shortest, longest)))
    return _with_pause(first, rest, pause_ms, kind)


def joined(first: Sentence, second: Sentence, seed: int) -> Clip:
    """Two whole sentences: whether the turn goes on after the first, nobody can know."""
    named = replace(first, name=f"{first.name} + {second.name}")
    return _with_pause(named, second.audio, chance(seed, named.name).uniform(*BETWEEN_SENTENCES_MS), "joined")


def cuts(sentence: Sentence, words: Sequence[Word], count: int, seed: int) -> list[Clip]:
    """The sentence with a hesitation after one of its words, `count` times, each after another word.

    `words`: with their places in the sentence's audio.
    """
    places = chance(seed, sentence.name).permutation(np.arange(1, len(words)))[:count]
    clips = []
    for place in sorted(places):
        at = quietest(sentence.audio, words[place - 1].end_ms, words[place].start_ms)
        first = replace(sentence, name=f"{sentence.name} / {place}", audio=faded(sentence.audio[:at]))
        clips.append(paused(first, sentence.audio[at:], seed, "cut"))
    return clips


def quietest(audio: Pcm, from_ms: int, to_ms: int, around_ms: int = 60, window_ms: int = 10) -> int:
    """The sample of least power within or near a gap between words: their times are right to some 50 ms."""
    window = samples(window_ms)
    first = max(0, samples(min(from_ms, to_ms) - around_ms))
    part = audio[first : samples(max(from_ms, to_ms) + around_ms)].astype(np.float64)
    if len(part) <= window:
        return min(first, len(audio))
    power = np.convolve(part**2, np.ones(window), mode="valid")
    return first + int(power.argmin()) + window // 2


def faded(audio: Pcm, ms: int = 10) -> Pcm:
    """The end without a click: int16[n] -> int16[n]."""
    length = min(len(audio), samples(ms))
    fade = np.concatenate([np.ones(len(audio) - length), np.linspace(1, 0, length)])
    out: Pcm = (audio * fade).astype(np.int16)
    return out


def trimmed(audio: Pcm, below_db: float = -40.0, edge_ms: int = 20) -> Pcm:
    """Without the silence around it: what is `below_db` under the loudest 10 ms."""
    window = samples(10)
    power = np.convolve(audio.astype(np.float64) ** 2, np.ones(window), mode="same")
    loud = np.flatnonzero(power > power.max(initial=0.0) * 10 ** (below_db / 10))
    edge = samples(edge_ms)
    return audio[max(0, loud[0] - edge) : loud[-1] + edge] if len(loud) else audio


def noisy(clip: Clip, seed: int, snr_db: float = NOISE_DB) -> Clip:
    """The clip with pink noise from its first sample to its last, so far below its speech."""
    speech = clip.audio.astype(np.float64)
    loud = speech[np.abs(speech) > 0.02 * np.abs(speech).max(initial=1.0)]
    noise = pink_noise(len(speech), chance(seed, clip.name))
    mixed = speech + noise * np.sqrt(np.mean(loud**2)) * 10 ** (-snr_db / 20)
    audio = np.clip(np.round(mixed), -32768, 32767).astype(np.int16)
    return replace(clip, name=f"{clip.name} (noise)", source=f"{clip.source}, noise", audio=audio)


def pink_noise(length: int, random: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """float64[length] of variance 1, whose power falls as 1 / frequency from 50 Hz on."""
    spectrum = np.fft.rfft(random.standard_normal(length))
    frequency_hz = np.fft.rfftfreq(length, 1 / SPEECH_RATE_HZ)
    shaped = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency_hz, 50.0)), length)
    return np.asarray(shaped / shaped.std(), np.float64).reshape(length)


def _with_pause(first: Sentence, rest: Pcm, pause_ms: float, kind: str) -> Clip:
    audio = _between_silences([first.audio, np.zeros(samples(pause_ms), np.int16), rest])
    return Clip(first.name, first.source, first.held_out, audio, kind, samples(LEAD_MS) + len(first.audio))


def _between_silences(parts: Sequence[Pcm]) -> Pcm:
    lead, end = (np.zeros(samples(ms), np.int16) for ms in (LEAD_MS, END_MS))
    return np.concatenate([lead, *parts, end])
