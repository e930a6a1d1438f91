"""Cases ready to be played: their sounds are made and their times drawn, before anybody is called."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.recording import RATE_HZ
from loadtest.repertoire import Clip, Repertoire, draw_ms
from loadtest.script import Case, Over, Part, Size, Turn
from loadtest.take import Cue, Scene, SceneTurn
from loadtest.voiced import Pcm


@dataclass(frozen=True, slots=True)
class Scenes:
    """All cases, `repeats` times as often as a run of this size plays each. The same seed makes the same of them,
    whichever cases are chosen. Calls that are made at once follow each other, each with other sentences."""

    cases: Sequence[Case]
    repeats: int
    seed: int
    size: Size = "small"

    def made(self, repertoire: Repertoire) -> Iterator[Scene]:
        """Raises CallFailed, of a sound that cannot be made."""
        times = {case.name: self.repeats * getattr(case.times, self.size) for case in self.cases}
        for repeat in range(max(times.values(), default=0)):
            for case in self.cases:
                rng = np.random.default_rng((self.seed, repeat, zlib.crc32(case.name.encode())))
                for beside in range(case.calls if repeat < times[case.name] else 0):
                    yield _Maker(repertoire, rng, repeat, beside).scene(case)


@dataclass(frozen=True, slots=True)
class _Maker:
    repertoire: Repertoire
    rng: np.random.Generator
    repeat: int
    beside: int

    def scene(self, case: Case) -> Scene:
        bed = self._clip(case.noise).pcm if case.noise else None
        turns = tuple(self._turn(turn) for turn in case.turns)
        if bed is not None and case.noise_below_db is not None:
            bed = below(bed, [turn.clip for turn in turns], case.noise_below_db)
        return Scene(case, self.repeat, turns, bed, self.beside)

    def _turn(self, turn: Turn) -> SceneTurn:
        cues = tuple(self._cue(over) for over in turn.over)
        hear = None if turn.hear_ms is None else turn.hear_ms * RATE_HZ // 1000
        return SceneTurn(self._samples(turn.before_ms), self._clip(turn.say), cues, hear)

    def _cue(self, over: Over) -> Cue:
        return Cue(over.kind, self._samples(over.after_ms), self._clip(over.sound).trimmed(), over.called or "")

    def _clip(self, sound: Sequence[Part]) -> Clip:
        return self.repertoire.clip(sound, self.rng, self.repeat + self.beside)

    def _samples(self, span: tuple[int, int]) -> int:
        return draw_ms(span, self.rng) * RATE_HZ // 1000


def below(bed: Pcm, clips: Sequence[Clip], db: float) -> Pcm:
    """int16[n], so many dB below what is voiced of the clips, both in the mean."""
    voiced = np.concatenate([clip.trimmed().pcm for clip in clips]).astype(np.float64)
    wanted = np.mean(voiced**2) * 10 ** (-db / 10)
    scaled = bed * np.sqrt(wanted / max(1e-9, float(np.mean(bed.astype(np.float64) ** 2))))
    quieter: Pcm = np.clip(np.round(scaled), -32768, 32767).astype(np.int16)
    return quieter
