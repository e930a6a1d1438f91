"""What a conversation is made of: items, and the answers (responses) that add to them.

The words follow the OpenAI Realtime protocol, because its users have to find their items again; nothing here knows
that protocol's wire form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

from deployments.contracts import Pcm, Tool, ToolCall, Usage

Modality = Literal["text", "audio"]
Status = Literal["in_progress", "completed", "incomplete"]


def new_id(prefix: str) -> str:
    """`prefix` and 24 characters that no other id has."""
    return f"{prefix}_{uuid4().hex[:24]}"


@dataclass(slots=True)
class MessageItem:
    """Something that was said or typed. `text` is the transcript when `modality` is "audio".

    `audio` is what the caller said, int16[n] at 16 kHz. `heard_ms` is how much of an answer's audio the caller
    heard before it was cut, None while it is whole. `aside`: the LLM is not shown it.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    modality: Modality = "text"
    id: str = field(default_factory=lambda: new_id("item"))
    status: Status = "completed"
    audio: Pcm | None = None
    heard_ms: int | None = None
    aside: bool = False


@dataclass(slots=True)
class FunctionCallItem:
    """The model wants a function called."""

    call: ToolCall
    id: str = field(default_factory=lambda: new_id("item"))
    status: Status = "completed"


@dataclass(slots=True)
class FunctionOutputItem:
    """What the function returned, as text."""

    call_id: str
    output: str
    id: str = field(default_factory=lambda: new_id("item"))
    status: Status = "completed"


Item = MessageItem | FunctionCallItem | FunctionOutputItem


# --- what can be set for a call, and for one answer of it


@dataclass(frozen=True, slots=True)
class ServerVad:
    """The turn is over after a fixed silence."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True
    idle_timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """The turn is over when it sounds so, at the latest after the eagerness' silence."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection = ServerVad | SemanticVad | None


@dataclass(frozen=True, slots=True)
class CallSettings:
    """What the caller's side may choose, for the whole call. `turn_detection` None: turns end by `CommitAudio`.

    `models` are names of deployments, `needs` what the models must be able to do (see `choosing`); both hold from the
    call's beginning to its end.
    """

    instructions: str
    voice: str | None = None
    speed: float = 1.0
    language: str | None = None
    models: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    hint: str = ""
    transcribe: bool = True
    turn_detection: TurnDetection = field(default_factory=SemanticVad)
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    max_output_tokens: int | None = None
    output: Modality = "audio"


Ending = Literal["goodbye", "silence"]
"""Why the agent ends a call: the caller said goodbye, or nothing any more."""


@dataclass(frozen=True, slots=True)
class Script:
    """An answer that is known word for word; no LLM is asked. Empty `text`: nothing is said. `ending`: the call is
    over when it was heard."""

    text: str
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """Overrides for one answer; None leaves the call's setting.

    `in_conversation` False: the answer is not added to the history. `input` replaces the history as the prompt:
    items, or ids of items of the history. `script` is the call's own: what the answer says in any case.
    """

    instructions: str | None = None
    voice: str | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | None = None
    max_output_tokens: int | None = None
    output: Modality | None = None
    in_conversation: bool = True
    input: tuple[Item | str, ...] | None = None
    metadata: Mapping[str, str] | None = None
    script: Script | None = None


@dataclass(slots=True)
class Answer:
    """One answer (a "response"): the items that it made, and how it ended.

    `reason` says why an answer is not "completed": turn_detected, client_cancelled, max_output_tokens, or an
    error's sentence when `status` is "failed".
    """

    options: AnswerOptions
    output: Modality
    voice: str | None
    max_output_tokens: int | None
    id: str = field(default_factory=lambda: new_id("resp"))
    items: list[Item] = field(default_factory=list)
    status: Literal["in_progress", "completed", "cancelled", "incomplete", "failed"] = "in_progress"
    reason: str | None = None
    usage: Usage | None = None
