"""What it takes to go on with a conversation elsewhere, as JSON: what was said and heard, how the call was set, and
whose it is. No sound."""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments.contracts import Tool, ToolCall
from serve_app.conversation.items import (
    CallSettings,
    FunctionCallItem,
    FunctionOutputItem,
    Item,
    MessageItem,
    Modality,
    SemanticVad,
    ServerVad,
    Status,
)

log = logging.getLogger("antiphon.sessions")

VERSION = 1
"""To be raised when the meaning of a field changes: a replica of another version begins anew rather than guess."""
MAX_BYTES = 256 * 1024
"""Hours of talk. Of a longer conversation the newest turns are kept: the LLM sees no others."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`owner`: whose conversation it is, which must be who asks for it. `unanswered`: the last words were being
    answered."""

    owner: str
    items: tuple[Item, ...]
    settings: CallSettings
    unanswered: bool = False


class TooLarge(ValueError):
    """The settings alone are larger than a checkpoint may be."""


# --- the JSON


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Message(_Part):
    kind: Literal["message"] = "message"
    role: Literal["system", "user", "assistant"]
    text: str
    modality: Modality
    id: str
    status: Status
    heard_ms: int | None
    aside: bool


class _FunctionCall(_Part):
    kind: Literal["function_call"] = "function_call"
    call_id: str
    name: str
    arguments: str
    id: str
    status: Status


class _FunctionOutput(_Part):
    kind: Literal["function_call_output"] = "function_call_output"
    call_id: str
    output: str
    id: str
    status: Status


class _ServerVad(_Part):
    kind: Literal["server_vad"] = "server_vad"
    threshold: float
    prefix_padding_ms: int
    silence_duration_ms: int
    create_response: bool
    interrupt_response: bool
    idle_timeout_ms: int | None


class _SemanticVad(_Part):
    kind: Literal["semantic_vad"] = "semantic_vad"
    eagerness: Literal["low", "medium", "high", "auto"]
    create_response: bool
    interrupt_response: bool


class _Tool(_Part):
    name: str
    description: str
    parameters: dict[str, Any]


class _Settings(_Part):
    instructions: str
    voice: str | None
    speed: float
    language: str | None
    models: list[str]
    needs: list[str]
    hint: str
    transcribe: bool
    turn_detection: Annotated[_ServerVad | _SemanticVad, Field(discriminator="kind")] | None
    tools: list[_Tool]
    tool_choice: str
    max_output_tokens: int | None
    output: Modality


_AnyItem = Annotated[_Message | _FunctionCall | _FunctionOutput, Field(discriminator="kind")]


class _Page(_Part):
    version: Literal[1]
    owner: str
    unanswered: bool
    settings: _Settings
    items: list[_AnyItem]


# --- out


def encode(owner: str, items: Sequence[Item], settings: CallSettings, *, unanswered: bool) -> bytes:
    """At most MAX_BYTES. What is still being said, or was not understood yet, is left out. Raises TooLarge."""
    page = {
        "version": VERSION,
        "owner": owner,
        "unanswered": unanswered,
        "settings": _settings_out(settings),
        "items": [],
    }
    frame = _text(page)
    left = MAX_BYTES - len(frame)
    if left < 0:
        raise TooLarge(f"the settings have more than {MAX_BYTES} bytes")
    return frame[: -len(b"]}")] + b",".join(_newest(items, left)) + b"]}"


def _text(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def _newest(items: Sequence[Item], left: int) -> list[bytes]:
    """The texts of the newest items for which there is room, from the beginning of a turn on."""
    texts: list[bytes] = []
    kept = 0
    for item in reversed(items):
        if not _is_complete(item):
            continue
        text = _text(_item_out(item))
        left -= len(text) + 1
        if left < 0:
            return texts[:kept][::-1]
        texts.append(text)
        if isinstance(item, MessageItem) and item.role == "user":
            kept = len(texts)
    return texts[::-1]


def _is_complete(item: Item) -> bool:
    if isinstance(item, MessageItem) and item.role == "user":
        return bool(item.text)
    return item.status != "in_progress"


def _item_out(item: Item) -> dict[str, Any]:
    if isinstance(item, MessageItem):
        names = ("role", "text", "modality", "id", "status", "heard_ms", "aside")
        return {"kind": "message", **{name: getattr(item, name) for name in names}}
    if isinstance(item, FunctionCallItem):
        return {"kind": "function_call", **asdict(item.call), "id": item.id, "status": item.status}
    return {"kind": "function_call_output", **asdict(item)}


def _settings_out(settings: CallSettings) -> dict[str, Any]:
    detection = settings.turn_detection
    kind = "server_vad" if isinstance(detection, ServerVad) else "semantic_vad"
    return {**asdict(settings), "turn_detection": None if detection is None else {"kind": kind, **asdict(detection)}}


# --- in


def decode(text: bytes, owner: str) -> Checkpoint | None:
    """None, and a line in the log, for one that is broken, of another version, or somebody else's."""
    try:
        page = _Page.model_validate(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as wrong:
        log.warning("a checkpoint was passed over: %s", _why(wrong))
        return None
    if page.owner != owner:
        log.warning("a checkpoint was passed over: it is somebody else's")
        return None
    return Checkpoint(owner, tuple(_items_in(page.items)), _settings_in(page.settings), page.unanswered)


def _why(wrong: Exception) -> str:
    """Without what was said in the conversation."""
    if isinstance(wrong, ValidationError):
        first = wrong.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['type']}"
    return "it is no JSON"


def _items_in(parts: Iterable[_Message | _FunctionCall | _FunctionOutput]) -> Iterable[Item]:
    for part in parts:
        fields = part.model_dump(exclude={"kind"})
        if isinstance(part, _Message):
            yield MessageItem(**fields)
        elif isinstance(part, _FunctionCall):
            yield FunctionCallItem(ToolCall(part.call_id, part.name, part.arguments), part.id, part.status)
        else:
            yield FunctionOutputItem(**fields)


def _settings_in(part: _Settings) -> CallSettings:
    given = part.model_dump(exclude={"turn_detection", "tools", "models", "needs"})
    return CallSettings(
        **given,
        models=tuple(part.models),
        needs=tuple(part.needs),
        tools=tuple(Tool(tool.name, tool.description, tool.parameters) for tool in part.tools),
        turn_detection=_detection_in(part.turn_detection),
    )


def _detection_in(part: _ServerVad | _SemanticVad | None) -> ServerVad | SemanticVad | None:
    if part is None:
        return None
    given = part.model_dump(exclude={"kind"})
    return ServerVad(**given) if isinstance(part, _ServerVad) else SemanticVad(**given)
