"""A case before it is played, with its sounds made, and after it: both sides' sound, and what the server told."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from loadtest.mixer import Mixer
from loadtest.moments import Moment
from loadtest.recording import Gap
from loadtest.repertoire import Clip
from loadtest.script import Case
from loadtest.voiced import Pcm

Role = Literal["turn", "interruption", "backchannel", "noise"]


@dataclass(frozen=True, slots=True)
class Cue:
    """What sounds over an answer, so many samples after its first sound."""

    role: Role
    after: int
    clip: Clip
    called: str = ""


@dataclass(frozen=True, slots=True)
class SceneTurn:
    """`before`: samples to wait first; after `hear` samples of its answer that is stopped."""

    before: int
    clip: Clip
    cues: tuple[Cue, ...] = ()
    hear: int | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    """A case to play, ready. `bed` is its noise, int16[n] at 24 kHz. `beside`: of several at once, from 0."""

    case: Case
    repeat: int
    turns: tuple[SceneTurn, ...]
    bed: Pcm | None = None
    beside: int = 0

    def mixer(self) -> Mixer:
        """A microphone for it."""
        echo = self.case.echo
        return Mixer(self.bed, (echo.delay_ms, echo.level_db) if echo else None)


@dataclass(frozen=True, slots=True)
class Sound:
    """How the agent's sound came. In a room: its frames, ms. Over the socket: where an answer's sound came after all
    of it that was there had sounded."""

    late_ms: tuple[float, ...] = ()
    step_ms: tuple[float, ...] = ()
    concealed_ms: float | None = None
    gaps: tuple[Gap, ...] | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A sound of the caller's side, on the call's clock: where its file begins, where its voice begins and ends.
    `words`: what is said, where that is known; `called`: what is counted by itself."""

    role: Role
    what: str
    turn: int
    first: int
    voiced_first: int
    voiced_last: int
    words: str | None = None
    called: str = ""


@dataclass(slots=True)
class Take:
    """A case as it was played once. `caller` and `agent`: int16[n] at 24 kHz, from the call's first sample."""

    case: Case
    repeat: int
    said: list[Said] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    """What could not be played, and why: the answer was over, or there was none."""
    stopped: set[int] = field(default_factory=set)
    """The turns whose answers were stopped by an order."""
    moments: list[Moment] = field(default_factory=list)
    caller: Pcm = field(default_factory=lambda: np.zeros(0, np.int16))
    agent: Pcm = field(default_factory=lambda: np.zeros(0, np.int16))
    sound: Sound = field(default_factory=Sound)
    failed: str = ""
    beside: int = 0

    @property
    def name(self) -> str:
        caller = f"_caller_{self.beside + 1}" if self.case.calls > 1 else ""
        return f"{self.case.name}_{self.repeat + 1}{caller}"
