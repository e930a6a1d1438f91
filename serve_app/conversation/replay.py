"""A recorded call played again, without sound, clock, models or tasks: does the same follow from the same?

What was given to the machine, the hearing and the judges is taken from the recording (`record.py`); what they make of
it is compared with what they made of it then.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from deployments.contracts import SPEECH_RATE_HZ
from deployments.errors import AntiphonError
from serve_app.call_options import TurnTakingOptions
from serve_app.conversation.barge_in import Intrusion, judge_for
from serve_app.conversation.items import TurnDetection
from serve_app.conversation.judging import TurnJudge
from serve_app.conversation.listening import Fact, Hearing, VoiceResumed, VoiceStarted
from serve_app.conversation.record import FORMAT, STEPS, Line, detection_of
from serve_app.conversation.turns import Command, Event, IllegalEvent, State, step

FORGETS = {Command.COMMIT_TURN, Command.FORGET_TURN}
"""After these the next voice is a new start."""


class BadRecord(AntiphonError):
    """The lines are not those of a recorded call."""


class Replay:
    """Of one call. `differences` has a sentence for everything that came otherwise than recorded."""

    def __init__(self) -> None:
        self.differences: list[str] = []
        self.state = State.IDLE
        self.lines = 0
        self._options = TurnTakingOptions()
        self._barge_in = judge_for(self._options)
        self._window = 0
        self._hearing: Hearing | None = None
        self._detection: TurnDetection = None
        self._judge: TurnJudge | None = None
        self._fact: Fact | None = None
        self._kinds: dict[str, Callable[[Line], None]] = {
            "format": self._begins,
            "listens": self._listens,
            "voice": self._voice,
            "fact": self._recorded_fact,
            "dismissed": lambda _: self._heard.end_of_speech(),
            "event": self._event,
            "pause": self._pause,
            "opinion": self._opinion,
            "silence_ms": self._silence,
            "intrusion": self._intrusion,
        }

    def push(self, line: Line) -> None:
        """The next line. Raises BadRecord."""
        self.lines += 1
        kind = next((kind for kind in line if kind in self._kinds), None)
        try:
            if kind is None or (self.lines == 1) != (kind == "format"):
                raise KeyError(kind)
            self._no_fact_but(line)
            self._kinds[kind](line)
        except (KeyError, TypeError, ValueError) as wrong:
            raise BadRecord(f"line {self.lines} is not one of a recorded call: {wrong!r}") from wrong

    def _expect(self, line: Line, what: str, now: Any, recorded: Any) -> None:
        if now != recorded:
            self.differences.append(f"line {self.lines}, at {line.get('at')}: {what} {now}, recorded was {recorded}")

    @property
    def _heard(self) -> Hearing:
        if self._hearing is None:
            raise ValueError("nobody listens yet")
        return self._hearing

    # --- what is heard

    def _begins(self, line: Line) -> None:
        if line["format"] != FORMAT:
            raise ValueError(f"format {line['format']}, and {FORMAT} is known")
        self._window = line["window_samples"]
        self._options = TurnTakingOptions.model_validate(line["turn_taking"])
        self._barge_in = judge_for(self._options)

    def _listens(self, line: Line) -> None:
        rules = dict(line["listens"])
        self._detection, begins = detection_of(rules.pop("detection")), rules.pop("begins")
        if begins is not None:
            self._hearing = Hearing(window_samples=self._window, **begins, **rules)
        hearing = self._heard
        hearing.onset, hearing.release = rules["onset"], rules["release"]
        hearing.onset_windows = rules["onset_windows"]

    def _voice(self, line: Line) -> None:
        for parts in line["voice"]:
            self._no_fact_but(None)
            self._fact = self._heard.push(parts / STEPS)

    def _recorded_fact(self, line: Line) -> None:
        fact, self._fact = self._fact, None
        now = None if fact is None else {"is": type(fact).__name__, **asdict(fact)}
        self._expect(line, "what is heard is", now, line["fact"])
        if isinstance(fact, VoiceStarted | VoiceResumed):
            self._judge = None

    def _no_fact_but(self, line: Line | None) -> None:
        """Whatever was heard stands in the line that follows it."""
        if self._fact is not None and (line is None or "fact" not in line):
            self.differences.append(f"line {self.lines}: {self._fact} is heard, recorded was nothing")
            self._fact = None

    # --- what happens

    def _event(self, line: Line) -> None:
        commands: tuple[Command, ...]
        try:
            self.state, commands = step(self.state, Event[line["event"]])
        except IllegalEvent as illegal:
            self.differences.append(f"line {self.lines}, at {line['at']}: {illegal}")
            commands = ()
        self._expect(line, f"{line['event']} leads to", self.state.name, line["state"])
        self.state = State[line["state"]]  # one difference is not to make more
        self._expect(line, f"{line['event']} commands", [command.name for command in commands], line["commands"])
        if FORGETS.intersection(commands):
            self._heard.end_of_speech()
        if Command.DROP_PREPARED in commands or FORGETS.intersection(commands):
            self._judge = None

    # --- what is judged

    def _pause(self, line: Line) -> None:
        if self._detection is None:
            raise ValueError("a pause is judged, though nobody detects turns")
        options = self._options.model_copy(update={"ask_llm": line["pause"]["ask_llm"]})
        self._judge = TurnJudge(self._detection, options)

    def _opinion(self, line: Line) -> None:
        judge, says = self._judge, line["opinion"]
        if judge is None:
            self._expect(line, "a pause is judged:", False, True)
            return
        judge.probability, judge.sentence_end = says["probability"], says["sentence_end"]
        self._expect(line, "the silence is", self._heard.silence_ms, says["silence_ms"])
        self._expect(line, "with this opinion, over:", judge.is_over(says["silence_ms"]), line["over"])

    def _silence(self, line: Line) -> None:
        judge, (first, last) = self._judge, line["silence_ms"]
        if judge is None:
            self._expect(line, "a pause is judged:", False, True)
            return
        for silence_ms in range(first, last + 1, self._window * 1000 // SPEECH_RATE_HZ):
            self._expect(line, f"{silence_ms} ms, asks:", judge.wants_opinion(silence_ms), line["asks"])
            self._expect(line, f"{silence_ms} ms, over:", judge.is_over(silence_ms), line["over"])

    def _intrusion(self, line: Line) -> None:
        verdict = self._barge_in.verdict(Intrusion(**line["intrusion"]))
        self._expect(line, "the verdict is", None if verdict is None else verdict.name, line["verdict"])


def replayed(lines: Iterable[Line]) -> Replay:
    """All of a recorded call. Raises BadRecord."""
    replay = Replay()
    for line in lines:
        replay.push(line)
    if not replay.lines:
        raise BadRecord("of a recorded call there are no lines")
    return replay
