"""What a server tells during a call, put down with its time, in one set of words for rooms and the Realtime socket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from loadtest.room_facts import Fact, Problem, StateChanged, TurnTimed, Words
from loadtest.wire import Event

Kind = Literal[
    "hears_voice",  # speech_started, or the state hearing or held
    "state",
    "answer_begins",  # response.created, or the state thinking
    "partial",  # the caller's words so far
    "final",
    "agent_text",  # the agent's words so far
    "history",  # what the server keeps of an item that the client cut
    "cut",  # the client cut an item: it was to be longer
    "outcome",  # completed, cancelled or failed
    "timeline",
    "problem",
]
OUTCOMES = {"answered": "completed", "interrupted": "cancelled"}
"""Of a timeline -> status of a response in the Realtime protocol; others are called the same in both."""

IDLE_STATES = ("idle", "listening")


@dataclass(frozen=True, slots=True)
class Moment:
    """`at`: samples of the call's clock. `text` is whole, not what came anew; so many of its characters are `stable`,
    all where nothing is said of that. `data` is a timeline."""

    at: int
    kind: Kind
    text: str = ""
    item: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    stable: int | None = None


class Notes:
    """Give `event` or `fact` to a caller; `now` tells the time. Then `moments`, and whether the agent is `busy`."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.moments: list[Moment] = []
        self.state: str | None = None
        self._now = now
        self._texts: dict[tuple[Kind, str], str] = {}
        self._open: set[str] = set()  # responses that are not done
        self._whole: set[str] = set()  # items whose words were told whole; their deltas say nothing new
        self._hearing = False
        self.knows_state = False

    @property
    def busy(self) -> bool:
        """It says, or shows, that something is going on."""
        if self.state is not None:
            return self.state not in IDLE_STATES
        return bool(self._open) or self._hearing

    def fact(self, fact: Fact) -> None:
        """Of a room."""
        match fact:
            case StateChanged(state):
                self._enter(state)
                if state == "thinking":
                    self._note("answer_begins")
                if state in ("hearing", "held"):
                    self._note("hears_voice")
            case Words():
                kind: Kind = "agent_text" if fact.by_agent else "final" if fact.final else "partial"
                self.moments.append(Moment(self._now(), kind, fact.text, fact.segment_id, stable=fact.stable))
            case TurnTimed(timeline):
                self._note("timeline", data=timeline)
                outcome = str(timeline.get("outcome"))
                self._note("outcome", OUTCOMES.get(outcome, outcome))
            case Problem():
                self._note("problem", str(fact))

    def event(self, event: Event) -> None:
        """Of the Realtime protocol."""
        kind = event["type"].removeprefix("conversation.item.")
        match kind:
            case "antiphon.state.v1":
                self._enter(str(event["state"]))
                if event["state"] == "held":  # hearing is told by the protocol itself
                    self._note("hears_voice")
            case "antiphon.timeline.v1":
                self._note("timeline", data=event["timeline"])
            case "input_audio_buffer.speech_started":
                self._hearing = self.knows_state = True
                self._note("hears_voice")
            case "input_audio_buffer.speech_stopped" | "input_audio_buffer.committed":
                self._hearing = False
            case "antiphon.transcript.v1":
                self._whole.add(item := event["item_id"])
                stable = event["stable_characters"]
                self.moments.append(Moment(self._now(), "partial", event["text"], item, stable=stable))
            case "input_audio_transcription.delta" if event["item_id"] not in self._whole:
                self._add("partial", event["item_id"], event["delta"])
            case "input_audio_transcription.completed":
                self._note("final", event["transcript"], event["item_id"])
            case "response.created" | "response.done":
                self._response(kind == "response.done", event["response"])
            case "response.output_audio_transcript.delta":
                self._add("agent_text", event["item_id"], event["delta"])
            case "truncated":
                self._note("cut", item=event["item_id"])
            case "retrieved":
                words = [str(part.get("transcript") or "") for part in event["item"].get("content", ())]
                self._note("history", " ".join(words).strip(), event["item"]["id"])
            case "error":
                self._note("problem", str(event["error"].get("message")))

    def _response(self, done: bool, response: Mapping[str, Any]) -> None:
        self.knows_state = True
        if done:
            self._open.discard(response["id"])
            self._note("outcome", str(response.get("status")))
        else:
            self._open.add(response["id"])
            self._note("answer_begins")

    def _enter(self, state: str) -> None:
        self.state, self.knows_state = state, True
        self._note("state", state)

    def _add(self, kind: Kind, item: str, more: str) -> None:
        text = self._texts.get((kind, item), "") + more
        self._texts[kind, item] = text
        self._note(kind, text, item)

    def _note(self, kind: Kind, text: str = "", item: str = "", data: Mapping[str, Any] | None = None) -> None:
        self.moments.append(Moment(self._now(), kind, text, item, data or {}))
