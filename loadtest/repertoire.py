"""The sounds of a script: recordings where there are some, words in the voice of the config, and what can be made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.recording import RATE_HZ
from loadtest.script import BadScript, Part
from loadtest.speech import RECORDINGS, hears_only_tones, resolved_settings, said, sentences, texts
from loadtest.voiced import Pcm, voiced_span
from loadtest.wav import BadRecording, read_speech


@dataclass(frozen=True, slots=True)
class Clip:
    """`what` says for people what sounds: file names, words. `pcm`: int16[n] at 24 kHz. `words`: what is said, where
    that is known."""

    what: str
    pcm: Pcm
    words: str | None = None

    def voiced(self) -> tuple[int, int]:
        """(first, last) voiced sample; all of it where no voice stands out."""
        return voiced_span(self.pcm, RATE_HZ) or (0, len(self.pcm) - 1)

    def trimmed(self) -> "Clip":
        """From its first voiced sample to its last: so that it begins when it is to begin."""
        first, last = self.voiced()
        return replace(self, pcm=self.pcm[first : last + 1])


class Repertoire:
    """Makes the sounds of a script. `folder` and `config` as for `speech.sentences`; a second take (`repeat` 1) of
    `sentence: 1` says the second one. Raises CallFailed, of a sound that cannot be made."""

    def __init__(self, folder: Path | None, config: Path) -> None:
        self._config, self._folder = config, folder
        self._sentences = sentences(folder, config)
        self._settings = resolved_settings(config)
        self._texts = texts(folder, self._settings)

    def clip(self, sound: Sequence[Part], rng: np.random.Generator, repeat: int = 0) -> Clip:
        """All parts, joined."""
        pieces: list[tuple[Clip, int | None]] = []
        pause_ms: int | None = None
        for part in sound:
            if part.pause_ms is not None:
                pause_ms = draw_ms(part.pause_ms, rng)
            else:
                pieces.append((self._piece(part, rng, repeat), pause_ms))
                pause_ms = None
        if not pieces:
            raise BadScript("a sound of nothing but pauses: write at least one part that sounds")
        return joined(pieces)

    def _piece(self, part: Part, rng: np.random.Generator, repeat: int) -> Clip:
        if part.file is not None:
            return _at_level(self._recorded(part.file, part.otherwise, rng, repeat), part.level_db)
        if part.make is not None:
            return _at_level(Clip(part.make.replace("_", " "), MADE[part.make](part.seconds, rng)), part.level_db)
        if part.text is not None:
            pcm = _read(said(part.text, self._settings)).pcm
            return _at_level(Clip(part.text, pcm, part.text), part.level_db)
        assert part.sentence is not None  # a part is one of these
        path = self._sentences[(part.sentence - 1 + repeat) % len(self._sentences)]
        return _at_level(self._known(path), part.level_db)

    def _known(self, path: Path) -> Clip:
        return replace(_read(path), words=self._texts.get(path))

    def _recorded(self, name: str, otherwise: Sequence[Part] | None, rng: np.random.Generator, repeat: int) -> Clip:
        """A synthetic ASR hears only tones, so nothing that a person recorded is said to it."""
        path = (self._folder or RECORDINGS) / name
        try:
            if hears_only_tones(self._settings):
                raise BadScript(f"{name} is a recording, and a synthetic ASR hears only tones: give it an `otherwise`")
            return self._known(path)
        except BadScript:
            if otherwise is None:
                raise
            return self.clip(otherwise, rng, repeat)


def draw_ms(span: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(min(span), max(span) + 1))


def joined(pieces: Sequence[tuple[Clip, int | None]]) -> Clip:
    """One after another. Before a piece with a pause so much time passes from the last voiced sample before it to its
    own first one; edges that are nearly silent may lie over each other. Without a pause nothing is put in between."""
    total = sum(len(clip.pcm) + (pause or 0) * RATE_HZ // 1000 for clip, pause in pieces)
    mixed = np.zeros(total, np.int32)
    words, end, voiced_end = "", 0, 0
    for clip, pause_ms in pieces:
        first, last = clip.voiced()
        start = end if pause_ms is None or not words else max(0, voiced_end + pause_ms * RATE_HZ // 1000 - first)
        mixed[start : start + len(clip.pcm)] += clip.pcm
        voiced_end, end = start + last, max(end, start + len(clip.pcm))
        words += (f" … {pause_ms} ms … " if pause_ms is not None else " ") * bool(words) + clip.what
    texts = [clip.words for clip, _ in pieces]
    known = None if None in texts else " ".join(text for text in texts if text)
    return Clip(words, np.clip(mixed[:end], -32768, 32767).astype(np.int16), known)


def _read(path: Path) -> Clip:
    try:
        return Clip(path.name, read_speech(path))
    except BadRecording as wrong:
        raise BadScript(str(wrong)) from wrong


def _at_level(clip: Clip, level_db: float | None) -> Clip:
    if level_db is None:
        return clip
    mean = float(np.sqrt(np.mean(clip.pcm.astype(np.float64) ** 2))) or 1.0
    scaled = clip.pcm * (32768 * 10 ** (level_db / 20) / mean)
    return replace(clip, pcm=np.clip(np.round(scaled), -32768, 32767).astype(np.int16))


# --- made


def cough(seconds: float, rng: np.random.Generator) -> Pcm:
    """A hard burst of broad noise and a softer one after it."""
    at = np.linspace(0, 1, round(seconds * RATE_HZ))
    envelope = np.minimum(at / 0.02, 1) * np.exp(-at / 0.12) + 0.6 * np.exp(-(((at - 0.55) / 0.1) ** 2))
    return _pcm(_shaped(len(at), rng, lambda hz: 1 / (1 + (np.maximum(hz - 1200, 0) / 900) ** 2)) * envelope)


def chords(seconds: float, rng: np.random.Generator) -> Pcm:
    """Struck chords of three notes with overtones, two a second: music, as far as a detector of voices goes."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = np.zeros(len(at))
    for start in np.arange(0, seconds, 0.5):
        root = 220 * 2 ** (int(rng.integers(0, 12)) / 12)
        since = np.maximum(at - start, 0)
        struck = np.exp(-since / 0.3) * (at >= start)
        for note in (root, root * 2 ** (4 / 12), root * 2 ** (7 / 12)):
            wave += struck * sum(np.sin(2 * np.pi * note * tone * since) / tone**1.5 for tone in range(1, 6))
    return _pcm(wave)


def pink_noise(seconds: float, rng: np.random.Generator) -> Pcm:
    """As much power in each octave, above 40 Hz."""
    return _pcm(_shaped(round(seconds * RATE_HZ), rng, lambda hz: 1 / np.sqrt(np.maximum(hz, 40))))


def mhm(seconds: float, rng: np.random.Generator) -> Pcm:
    """A hum of two syllables with a breath between, the second one higher. Texts spell it, and voices read the letters.

    A source and a filter (Fant 1960): the vocal cords' harmonics, each weaker by its number, through the resonances of
    a nasal [m], whose first one holds nearly all of the sound (Fujimura 1962).
    """
    at = np.linspace(0, 1, round(seconds * RATE_HZ))
    low_hz = float(rng.uniform(95, 125))
    first, second = _edged(at, 0, 0.42), _edged(at, 0.55, 1)
    pitch_hz = low_hz * np.where(at < 0.48, 1 - 0.08 * at, 1.18 + 0.12 * np.sin(2 * np.pi * (at - 0.5)))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    hum = sum(np.sin(tone * phase) * _nasal(tone * low_hz) / tone for tone in range(1, 40)) * (first + second)
    breath = _shaped(len(at), rng, _nasal) * (first + second + 4 * np.exp(-(((at - 0.485) / 0.05) ** 2)))
    return _pcm(hum / hum.std() + 0.02 * breath / breath.std())


def _edged(at: NDArray[np.float64], begin: float, end: float) -> NDArray[np.float64]:
    """1 between the two, with soft edges."""
    return np.clip(np.minimum(at - begin, (end - at) / 2) / 0.06, 0, 1)


def _nasal(hz: Any) -> Any:
    """Gain at this frequency of a vocal tract that is closed at the lips."""
    resonances = ((270, 80, 1.0), (1000, 150, 0.1), (2200, 250, 0.04), (2900, 300, 0.015))  # Hz, Hz wide, level
    gains = (level * (wide / at) / np.hypot(1 - (hz / at) ** 2, hz * wide / at**2) for at, wide, level in resonances)
    return sum(gains)


MADE = {"cough": cough, "chords": chords, "pink_noise": pink_noise, "mhm": mhm}


def _shaped(samples: int, rng: np.random.Generator, gain) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
    """White noise with this gain at each frequency in Hz."""
    spectrum = np.fft.rfft(rng.standard_normal(samples)) * gain(np.fft.rfftfreq(samples, 1 / RATE_HZ))
    shaped: NDArray[np.float64] = np.fft.irfft(spectrum, samples)
    return shaped


def _pcm(wave: NDArray[np.float64]) -> Pcm:
    """As loud as speech: -20 dBFS in the mean, where its peaks let it."""
    mean, peak = np.sqrt(np.mean(wave**2)), np.abs(wave).max()
    louder = float(min(3277 / mean, 32000 / peak))
    return np.round(wave * louder).astype(np.int16)
