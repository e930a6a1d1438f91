"""What the judge is to judge: a pause of a caller, what the models say of it, and whether the turn is over."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

WINDOW_MS = 32
"""The voice detector's, by which a call's time goes on."""
NEAR_MS = 300
"""The voice detector finds the end of speech within this of where it was made."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One pause, as long as nobody answers. `silence` is counted from the last voiced sample, as in a call."""

    clip: str
    kind: str
    """"end": the turn is over. Else it goes on: after a "cut" within a sentence, an "unfinished" one, a pause of the
    speaker's own ("within"), or with a whole sentence after another ("joined")."""
    source: str
    held_out: bool
    text: str
    """The transcript when the pause began."""
    lasts_ms: int | None
    """Until the voice is known to be back; None: the turn is over."""
    sounds: tuple[tuple[int, float], ...]
    """(silence in ms, the turn model's probability then), ascending."""
    sentence_end: float | None
    """The LLM's probability that the transcript is a whole sentence."""

    @property
    def goes_on(self) -> bool:
        return self.lasts_ms is not None


@dataclass(frozen=True, slots=True)
class Latencies:
    """Medians, in ms: of a judgement of the turn model, of a transcript, and of the LLM's opinion on that."""

    turn_ms: float
    transcript_ms: float
    sentence_end_ms: float


@dataclass(frozen=True, slots=True)
class Material:
    """All that a replay needs."""

    pauses: tuple[Pause, ...]
    latencies: Latencies

    def part(self, *, held_out: bool) -> tuple[Pause, ...]:
        return tuple(pause for pause in self.pauses if pause.held_out is held_out)


def write_material(path: Path, material: Material) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(asdict(material)), encoding="utf-8")
    part.replace(path)


def read_material(path: Path) -> Material:
    """Raises OSError where there is none."""
    read = json.loads(path.read_text(encoding="utf-8"))
    pauses = [Pause(**{**pause, "sounds": _pairs(pause["sounds"])}) for pause in read["pauses"]]
    return Material(tuple(pauses), Latencies(**read["latencies"]))


def _pairs(sounds: Sequence[Sequence[float]]) -> tuple[tuple[int, float], ...]:
    return tuple((int(silence_ms), probability) for silence_ms, probability in sounds)
