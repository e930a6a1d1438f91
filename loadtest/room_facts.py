"""What an agent tells its caller in a LiveKit room, beside its voice: data messages and text streams, read.

Topics: https://docs.livekit.io/agents/build/text/ for `lk.*`; Antiphon's own begin with `antiphon.`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loadtest.wire import Busy, CallFailed, Event

TRANSCRIPTION, CHAT = "lk.transcription", "lk.chat"
SEGMENT, FINAL, STABLE = "lk.segment_id", "lk.transcription_final", "antiphon.stable_characters"
AGENT, AGENT_STATE, CALL_ID = "antiphon.agent", "lk.agent.state", "antiphon.call_id"
STATE, TIMELINE, ERROR = "antiphon.state", "antiphon.timeline", "antiphon.error"


class Refused(CallFailed):
    """The agent came, and refuses this call: something in its settings is wrong. `code` and `field` say what."""

    def __init__(self, problem: "Problem") -> None:
        super().__init__(f"the agent refuses the call: {problem}")
        self.code, self.field = problem.code, problem.field


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The call is idle, hearing, ending, thinking, speaking or held."""

    state: str


@dataclass(frozen=True, slots=True)
class TurnTimed:
    """A turn is over; where its time went."""

    timeline: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """A segment's whole text so far, the caller's or the agent's; `final` when it will not change. Before that, so many
    characters of it are said to be `stable`; None where nothing is said."""

    by_agent: bool
    segment_id: str
    text: str
    final: bool
    stable: int | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    message: str
    field: str | None = None

    def __str__(self) -> str:
        return self.message + (f" ({self.field})" if self.field else "")


Fact = StateChanged | TurnTimed | Words | Problem


def read_packet(topic: str | None, data: bytes) -> Fact | None:
    """One data message; None for topics of others. Raises `CallFailed` for what it should not be."""
    if topic not in (STATE, TIMELINE, ERROR):
        return None
    try:
        said = json.loads(data)
    except ValueError as garbage:
        raise CallFailed(f"the agent sent something on {topic} that is not JSON") from garbage
    if not isinstance(said, dict):
        raise CallFailed(f"the agent sent JSON on {topic} that is no object")
    if topic == STATE:
        return StateChanged(str(said.get("state")))
    return TurnTimed(said) if topic == TIMELINE else _problem(said)


def read_refusal(attribute: str) -> CallFailed:
    """Why the agent does not take the call, from its attribute `antiphon.error`."""
    try:
        said = json.loads(attribute)
    except ValueError:
        said = {"message": attribute}
    problem = _problem(said if isinstance(said, dict) else {"message": attribute})
    return Busy(f"the agent takes no more calls: {problem}") if problem.code == "at_capacity" else Refused(problem)


def as_event(fact: Fact) -> Event | None:
    """The same as an event of the Realtime protocol, for those who print or count either; None where it has none."""
    match fact:
        case Words(by_agent=False, final=True):
            kind = "conversation.item.input_audio_transcription.completed"
            return {"type": kind, "item_id": fact.segment_id, "transcript": fact.text}
        case Words(by_agent=True, final=True):
            return {
                "type": "response.output_audio_transcript.done",
                "item_id": fact.segment_id,
                "transcript": fact.text,
            }
        case TurnTimed(timeline):
            return {"type": "antiphon.timeline.v1", "timeline": timeline}
        case StateChanged(state):
            return {"type": "antiphon.state.v1", "state": state}
        case Problem():
            return {"type": "error", "error": {"code": fact.code, "message": str(fact), "param": fact.field}}
        case _:
            return None


def _problem(said: Mapping[str, Any]) -> Problem:
    field = said.get("field")
    message = said.get("message") or "an error without a message"
    return Problem(str(said.get("code") or "unknown"), str(message), None if field is None else str(field))
