"""From a text frame to a checked client event: JSON, then the `openai` package's own types, then a plain sentence.

The types are unions without discriminators, so pydantic reports the failures of every branch; what a person needs to
know is the one failure of the branch that was meant. Unknown fields are errors too: the types let them through.
"""

import functools
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from openai.types.realtime import (
    ConversationItemCreateEvent,
    ConversationItemDeleteEvent,
    ConversationItemRetrieveEvent,
    ConversationItemTruncateEvent,
    InputAudioBufferAppendEvent,
    InputAudioBufferClearEvent,
    InputAudioBufferCommitEvent,
    OutputAudioBufferClearEvent,
    ResponseCancelEvent,
    ResponseCreateEvent,
    SessionUpdateEvent,
)
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from deployments.errors import BadRequest

Wire = dict[str, Any]
"""A JSON object of the protocol."""

MAX_ID_CHARS = 512
"""OpenAI's limit for `event_id`; ids are echoed, so they may not be of any length."""

EVENTS: Mapping[str, Any] = {
    "session.update": SessionUpdateEvent,
    "input_audio_buffer.append": InputAudioBufferAppendEvent,
    "input_audio_buffer.commit": InputAudioBufferCommitEvent,
    "input_audio_buffer.clear": InputAudioBufferClearEvent,
    "output_audio_buffer.clear": OutputAudioBufferClearEvent,
    "conversation.item.create": ConversationItemCreateEvent,
    "conversation.item.retrieve": ConversationItemRetrieveEvent,
    "conversation.item.delete": ConversationItemDeleteEvent,
    "conversation.item.truncate": ConversationItemTruncateEvent,
    "response.create": ResponseCreateEvent,
    "response.cancel": ResponseCancelEvent,
}

_CHECKED_LATER = {"session.update": "session", "conversation.item.create": "item", "response.create": "response"}
_OBJECT = re.compile(r"a valid dictionary.*$")
_CODES = {"missing": "missing_required_parameter", "literal_error": "invalid_value"}


def load(text: str, max_bytes: int) -> Wire:
    """A JSON object with finite numbers, no deeper than pydantic's 200 levels; else `BadRequest`."""
    if len(text) > max_bytes or (len(text) * 4 > max_bytes and len(text.encode()) > max_bytes):
        raise BadRequest(f"An event may have at most {max_bytes} bytes.", code="event_too_large")
    try:
        data = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadRequest(f"The event is not valid JSON: {error}.", code="invalid_json") from None
    if not isinstance(data, dict):
        raise BadRequest("An event is a JSON object.", code="invalid_event")
    _check_finite(data, ())
    return data


def event_id(event: Wire) -> str | None:
    """The id that an error about this event repeats; None where it is missing or not an id."""
    value = event.get("event_id")
    return value if isinstance(value, str) and 0 < len(value) <= MAX_ID_CHARS else None


def check_event(event: Wire) -> None:
    """Raises `BadRequest` unless `event` is a client event as its type describes it.

    What `session`, `item` and `response` hold is checked where it is used, against the one type that is meant there.
    """
    kind = event.get("type")
    if kind is None:
        raise BadRequest("'type' is missing.", field="type", code="missing_required_parameter")
    if not isinstance(kind, str) or kind not in EVENTS:
        message = f"Unknown event type {shown(kind)}; known are {', '.join(EVENTS)}."
        raise BadRequest(message, field="type", code="unknown_event_type")
    for name in event.keys() - EVENTS[kind].model_fields.keys():
        raise BadRequest(f"Unknown parameter: '{name}'.", field=name, code="unknown_parameter")
    inner = _CHECKED_LATER.get(kind)
    if inner in ("session", "item") and not isinstance(event.get(inner), dict):
        code = "invalid_type" if inner in event else "missing_required_parameter"
        raise BadRequest(f"'{inner}' must be an object.", field=inner, code=code)
    check(EVENTS[kind], {key: value for key, value in event.items() if key != inner}, "", lacks=inner)
    for name in ("event_id", "item_id", "response_id", "previous_item_id"):
        value = event.get(name)
        if isinstance(value, str) and not 0 < len(value) <= MAX_ID_CHARS:
            raise BadRequest(f"'{name}' must have 1 to {MAX_ID_CHARS} characters.", field=name, code="invalid_value")


def check(kind: Any, data: object, path: str, *, lacks: str | None = None) -> None:
    """Raises `BadRequest` with the full path unless `data` is valid for `kind`, strictly and without unknown fields.

    `lacks` names a field of `kind` that was left out of `data` on purpose.
    """
    try:
        model = _adapter(kind).validate_python(data, strict=True)
    except ValidationError as error:
        failures = [failure for failure in error.errors(include_url=False) if not _left_out(failure, lacks)]
        if failures:
            raise _explain(failures, data, path) from None
        return
    for unknown in _unknown_fields(model, path):
        raise BadRequest(f"Unknown parameter: '{unknown}'.", field=unknown, code="unknown_parameter")


def join(path: str, *parts: str | int) -> str:
    """`join("session", "tools", 0, "name")` is "session.tools[0].name"."""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}" if path else part
    return path


def _left_out(failure: ErrorDetails, lacks: str | None) -> bool:
    return lacks is not None and failure["loc"][:1] == (lacks,)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _check_finite(value: object, at: tuple[str | int, ...]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadRequest("Numbers must be finite.", field=join("", *at), code="invalid_value")
    if isinstance(value, dict):
        for key, inner in value.items():
            _check_finite(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_finite(inner, (*at, index))


def _explain(failures: list[ErrorDetails], data: object, path: str) -> BadRequest:
    """The failure of the branch that was meant: the one whose `type` and `role` fit."""
    branches: dict[tuple[str, ...], list[tuple[tuple[str | int, ...], ErrorDetails]]] = defaultdict(list)
    for failure in failures:
        keys, tags = _split(failure, data)
        branches[tags].append((keys, failure))
    meant = [found for found in branches.values() if not any(_names_a_branch(keys, f) for keys, f in found)]
    chosen = (meant or list(branches.values()))[0]
    keys, failure = next((found for found in chosen if _names_a_branch(*found)), chosen[0])
    field = join(path, *keys)
    code = _CODES.get(failure["type"], "invalid_type")
    if failure["type"] == "missing":
        return BadRequest(f"Missing required parameter: '{field}'.", field=field, code=code)
    same = [_OBJECT.sub("an object", f["msg"]) for found in branches.values() for k, f in found if k == keys]
    wanted = " or ".join(dict.fromkeys(message.removeprefix("Input should be ") for message in same))
    return BadRequest(f"Invalid '{field}': should be {wanted}, not {shown(failure['input'])}.", field=field, code=code)


def _names_a_branch(keys: tuple[str | int, ...], failure: ErrorDetails) -> bool:
    return bool(keys) and keys[-1] in ("type", "role") and failure["type"] in ("literal_error", "missing")


def _split(failure: ErrorDetails, data_in: object) -> tuple[tuple[str | int, ...], tuple[str, ...]]:
    """Pydantic's location is keys of the data mixed with names of union branches: tell them apart by the data."""
    data: Any = data_in
    keys: list[str | int] = []
    tags: list[str] = []
    for part in failure["loc"]:
        is_key = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if is_key:
            keys.append(part)
            data = data[part]
        elif failure["type"] == "missing" and part == failure["loc"][-1]:
            keys.append(part)
        else:
            tags.append(str(part))
    return tuple(keys), tuple(tags)


def _unknown_fields(value: object, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (join(path, name) for name in value.model_extra or ())
        for name in value.model_fields_set:
            yield from _unknown_fields(getattr(value, name, None), join(path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unknown_fields(inner, join(path, index))


def shown(value: object) -> str:
    """What the client sent, short enough for a sentence."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
