"""A call taken down line by line: what was heard and judged, what happened, and what the turn machine made of it.

`replay.py` plays it again. Lines are JSON objects; `at` is the sample of the call's input clock. What was said is not
in them, but for the words over the agent's voice, by which a barge-in is judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from serve_app.call_options import TurnTakingOptions
from serve_app.conversation.barge_in import Intrusion, Verdict
from serve_app.conversation.items import SemanticVad, ServerVad, TurnDetection
from serve_app.conversation.judging import TurnJudge
from serve_app.conversation.listening import AudioMemory, Fact, Hearing
from serve_app.conversation.turns import Command, Event, State

Line = dict[str, Any]
FORMAT = 1
"""Grows when older recordings cannot be replayed any more."""

STEPS = 10_000
"""A probability is kept as a whole number of these, rounded down: a threshold that is one is still met or missed."""
VOICE_WINDOWS = 64
"""Of a line, at most: what is not yet written is lost with the process."""


class Recorder:
    """Takes nothing down: of calls that are not recorded."""

    def listens(self, hearing: Hearing, detection: TurnDetection) -> None:
        """It is listened by these rules from now on."""

    def window(self, probability: float) -> None:
        """One more window was heard."""

    def fact(self, fact: Fact) -> None:
        """This followed from it."""

    def dismissed(self) -> None:
        """A voice was only more of what had been judged to be nothing."""

    def event(self, event: Event, state: State, commands: Sequence[Command]) -> None:
        """The machine took a step, to this state."""

    def pause(self, judge: TurnJudge) -> None:
        """A pause began that is to be judged."""

    def opinion(self, judge: TurnJudge, silence_ms: int, over: bool) -> None:
        """A model has said what it thinks, and the pause was judged once more."""

    def silence(self, silence_ms: int, asks: bool, over: bool) -> None:
        """A window of the pause was judged."""

    def intrusion(self, intrusion: Intrusion, verdict: Verdict | None) -> None:
        """A sound over the agent's voice was judged."""


@dataclass(slots=True)
class _Silence:
    """Windows of a pause in a row that were judged alike."""

    first_ms: int
    last_ms: int
    asks: bool
    over: bool


class LineRecorder(Recorder):
    """`write` takes each line as it is complete, and is to return at once. `memory` has the call's clock."""

    def __init__(
        self, write: Callable[[Line], None], memory: AudioMemory, options: TurnTakingOptions, window_samples: int
    ) -> None:
        self._write = write
        self._memory = memory
        self._voice: list[int] = []
        self._silence: _Silence | None = None
        self._hearing: Hearing | None = None
        write({"format": FORMAT, "window_samples": window_samples, "turn_taking": options.model_dump(mode="json")})

    def listens(self, hearing: Hearing, detection: TurnDetection) -> None:
        anew = self._hearing is not hearing
        self._hearing = hearing
        rules = {"onset": hearing.onset, "release": hearing.release, "onset_windows": hearing.onset_windows}
        begins = {"pause_ms": hearing.pause_ms, "next_sample": hearing.next_sample} if anew else None
        self._line("listens", {"detection": detection_line(detection), **rules, "begins": begins})

    def window(self, probability: float) -> None:
        if len(self._voice) == VOICE_WINDOWS:  # not after it: its fact is to stand in the next line
            self._flush_voice()
        self._voice.append(int(probability * STEPS))

    def fact(self, fact: Fact) -> None:
        self._line("fact", {"is": type(fact).__name__, **asdict(fact)})

    def dismissed(self) -> None:
        self._line("dismissed", True)

    def event(self, event: Event, state: State, commands: Sequence[Command]) -> None:
        names = [command.name for command in commands]
        self._line("event", event.name, state=state.name, commands=names)

    def pause(self, judge: TurnJudge) -> None:
        self._line("pause", {"ask_llm": judge.options.ask_llm})

    def opinion(self, judge: TurnJudge, silence_ms: int, over: bool) -> None:
        says = {"probability": judge.probability, "sentence_end": judge.sentence_end, "silence_ms": silence_ms}
        self._line("opinion", says, over=over)

    def silence(self, silence_ms: int, asks: bool, over: bool) -> None:
        last = self._silence
        if last is not None and (last.asks, last.over) == (asks, over):
            last.last_ms = silence_ms
            return
        self._flush_silence()
        self._silence = _Silence(silence_ms, silence_ms, asks, over)

    def intrusion(self, intrusion: Intrusion, verdict: Verdict | None) -> None:
        self._line("intrusion", asdict(intrusion), verdict=None if verdict is None else verdict.name)

    def _line(self, kind: str, given: Any, **derived: Any) -> None:
        self._flush_silence()  # before the voice, in whose last window the pause may have ended
        self._flush_voice()
        self._write({"at": self._memory.next_sample, kind: given, **derived})

    def _flush_voice(self) -> None:
        if self._voice:
            self._write({"at": self._memory.next_sample, "voice": self._voice})
            self._voice = []

    def _flush_silence(self) -> None:
        run, self._silence = self._silence, None
        if run is not None:
            line = {"silence_ms": [run.first_ms, run.last_ms], "asks": run.asks, "over": run.over}
            self._write({"at": self._memory.next_sample, **line})


def detection_line(detection: TurnDetection) -> Line | None:
    return None if detection is None else {"is": type(detection).__name__, **asdict(detection)}


def detection_of(line: Line | None) -> TurnDetection:
    """The opposite of `detection_line`."""
    if line is None:
        return None
    kinds: dict[str, type[ServerVad] | type[SemanticVad]] = {kind.__name__: kind for kind in (ServerVad, SemanticVad)}
    values = dict(line)
    return kinds[values.pop("is")](**values)
