"""Cases ready to be played: their sounds are made and their times drawn, before anybody is called."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.recording import RATE_HZ
from loadtest.repertoire import Clip, Repertoire, draw_ms
from loadtest.script import Case, Part, Turn
from loadtest.take import Cue, Scene, SceneTurn


@dataclass(frozen=True, slots=True)
class Scenes:
    """All cases, `repeats` times. The same seed makes the same of them, whichever cases are chosen."""

    cases: Sequence[Case]
    repeats: int
    seed: int

    def made(self, repertoire: Repertoire) -> Iterator[Scene]:
        """Raises CallFailed, of a sound that cannot be made."""
        for repeat in range(self.repeats):
            for case in self.cases:
                rng = np.random.default_rng((self.seed, repeat, zlib.crc32(case.name.encode())))
                yield _Maker(repertoire, rng, repeat).scene(case)


@dataclass(frozen=True, slots=True)
class _Maker:
    repertoire: Repertoire
    rng: np.random.Generator
    repeat: int

    def scene(self, case: Case) -> Scene:
        bed = self.repertoire.clip(case.noise, self.rng, self.repeat).pcm if case.noise else None
        return Scene(case, self.repeat, tuple(self._turn(turn) for turn in case.turns), bed)

    def _turn(self, turn: Turn) -> SceneTurn:
        cues = [Cue(over.kind, self._samples(over.after_ms), self._clip(over.sound).trimmed()) for over in turn.over]
        return SceneTurn(self._samples(turn.before_ms), self._clip(turn.say), tuple(cues))

    def _clip(self, sound: Sequence[Part]) -> Clip:
        return self.repertoire.clip(sound, self.rng, self.repeat)

    def _samples(self, span: tuple[int, int]) -> int:
        return draw_ms(span, self.rng) * RATE_HZ // 1000
