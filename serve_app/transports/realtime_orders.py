"""From checked client events to the call's orders."""

from typing import Any, cast

from openai.types.realtime import (
    RealtimeConversationItemAssistantMessage,
    RealtimeConversationItemFunctionCall,
    RealtimeConversationItemFunctionCallOutput,
    RealtimeConversationItemSystemMessage,
    RealtimeConversationItemUserMessage,
    RealtimeResponseCreateParams,
)
from openai.types.realtime.response_item_reference import ResponseItemReference

from deployments.audio import resample
from deployments.contracts import SPEECH_RATE_HZ, ToolCall
from deployments.errors import BadRequest
from serve_app.conversation.history import check_item
from serve_app.conversation.items import (
    AnswerOptions,
    FunctionCallItem,
    FunctionOutputItem,
    Item,
    MessageItem,
    new_id,
)
from serve_app.conversation.messages import (
    CancelAnswer,
    ClearAudio,
    CommitAudio,
    CreateAnswer,
    CreateItem,
    DeleteItem,
    Order,
    RetrieveItem,
    TruncateItem,
)
from serve_app.transports import realtime_audio
from serve_app.transports.realtime_fields import (
    check_common,
    check_tool_choice,
    check_voice,
    read_max_tokens,
    read_tool_choice,
    read_tools,
    refuse_moved,
    unsupported,
)
from serve_app.transports.realtime_parse import MAX_ID_CHARS, Wire, check, event_id, join
from serve_app.transports.realtime_session import Session

_MESSAGES: dict[str, Any] = {
    "system": RealtimeConversationItemSystemMessage,
    "user": RealtimeConversationItemUserMessage,
    "assistant": RealtimeConversationItemAssistantMessage,
}
_FUNCTIONS: dict[str, Any] = {
    "function_call": RealtimeConversationItemFunctionCall,
    "function_call_output": RealtimeConversationItemFunctionCallOutput,
}


def to_order(event: Wire, session: Session) -> Order:
    """Every client event but `session.update` and `input_audio_buffer.append`. Raises `BadRequest`."""
    ref = event_id(event)
    match event["type"]:
        case "input_audio_buffer.commit":
            return CommitAudio(ref)
        case "input_audio_buffer.clear":
            return ClearAudio(ref)
        case "conversation.item.create":
            return CreateItem(read_item(event["item"], session, "item"), event.get("previous_item_id"), ref)
        case "conversation.item.retrieve":
            return RetrieveItem(event["item_id"], ref)
        case "conversation.item.delete":
            return DeleteItem(event["item_id"], ref)
        case "conversation.item.truncate":
            return _truncation(event, ref)
        case "response.create":
            return CreateAnswer(read_options(event.get("response"), session), ref)
        case "response.cancel":
            return CancelAnswer(event.get("response_id"), ref)
    message = f"'{event['type']}' is for WebRTC and SIP; on a WebSocket the client plays, and stops, by itself."
    raise BadRequest(message, field="type", code="unsupported_event")


def _truncation(event: Wire, ref: str | None) -> TruncateItem:
    for name, limit in (("content_index", 0), ("audio_end_ms", None)):
        if event[name] < 0 or (limit is not None and event[name] > limit):
            wanted = "0" if limit == 0 else "0 or more"
            raise BadRequest(f"'{name}' must be {wanted}.", field=name, code="invalid_value")
    return TruncateItem(event["item_id"], event["content_index"], event["audio_end_ms"], ref)


# --- items


def read_item(wire: Wire, session: Session, path: str) -> Item:
    """An item that the client made; its id is the client's, or new."""
    item = _item(wire, session, path)
    check_item(item, path)
    return item


def _item(wire: Wire, session: Session, path: str) -> Item:
    kind = wire.get("type")
    if isinstance(kind, str) and kind.startswith("mcp_"):
        raise unsupported(f"{path}.type", "MCP items are not known here")
    meant = _MESSAGES.get(str(wire.get("role"))) if kind == "message" else _FUNCTIONS.get(str(kind))
    if meant is None:
        field, known = (f"{path}.role", _MESSAGES) if kind == "message" else (f"{path}.type", ("message", *_FUNCTIONS))
        raise BadRequest(f"'{field}' must be one of {', '.join(known)}.", field=field, code="invalid_value")
    check(meant, wire, path)
    item_id = wire.get("id") or new_id("item")
    for name in ("id", "call_id"):
        if len(wire.get(name) or "") > MAX_ID_CHARS:
            message = f"An id has at most {MAX_ID_CHARS} characters."
            raise BadRequest(message, field=f"{path}.{name}", code="invalid_value")
    if kind == "function_call":
        call = ToolCall(wire.get("call_id") or new_id("call"), wire["name"], wire["arguments"])
        return FunctionCallItem(call, id=item_id)
    if kind == "function_call_output":
        return FunctionOutputItem(wire["call_id"], wire["output"], id=item_id)
    return _message(wire, session, path, item_id)


def _message(wire: Wire, session: Session, path: str, item_id: str) -> MessageItem:
    parts: list[Wire] = wire["content"]
    if not parts:
        raise BadRequest("A message needs content.", field=f"{path}.content", code="invalid_value")
    if wire["role"] == "user" and parts[0].get("type") == "input_audio":
        return _spoken(parts, session, path, item_id)
    texts = [_text(part, wire["role"], join(path, "content", index)) for index, part in enumerate(parts)]
    return MessageItem(wire["role"], "\n".join(texts), id=item_id)


def _text(part: Wire, role: str, path: str) -> str:
    wanted = "output_text" if role == "assistant" else "input_text"
    kind = part.get("type")
    if kind is None:
        message = f"Missing required parameter: '{path}.type'."
        raise BadRequest(message, field=f"{path}.type", code="missing_required_parameter")
    if kind != wanted:
        raise unsupported(f"{path}.type", f"this message can only hold '{wanted}' here, not '{kind}'")
    if not isinstance(part.get("text"), str):
        message = f"Missing required parameter: '{path}.text'."
        raise BadRequest(message, field=f"{path}.text", code="missing_required_parameter")
    return str(part["text"])


def _spoken(parts: list[Wire], session: Session, path: str, item_id: str) -> MessageItem:
    if len(parts) > 1:
        raise unsupported(f"{path}.content[1]", "a message with audio has that one part")
    field = f"{path}.content[0].audio"
    if not parts[0].get("audio"):
        message = f"Missing required parameter: '{field}'."
        raise BadRequest(message, field=field, code="missing_required_parameter")
    wire_format = session.input_format
    realtime_audio.check_duration(parts[0]["audio"], wire_format, field)
    pcm = realtime_audio.decode(parts[0]["audio"], wire_format, field)
    audio = resample(pcm, realtime_audio.rate_hz(wire_format), SPEECH_RATE_HZ)
    return MessageItem("user", parts[0].get("transcript") or "", "audio", id=item_id, audio=audio)


# --- answers


def read_options(wire: Wire | None, session: Session) -> AnswerOptions:
    """What `response.create` overrides for one answer."""
    if wire is None:
        return AnswerOptions()
    refuse_moved(wire, "response")
    without_input = {key: value for key, value in wire.items() if key != "input"} if isinstance(wire, dict) else wire
    check(RealtimeResponseCreateParams, without_input, "response")
    _check_honoured(wire, session)
    speaking = (wire.get("audio") or {}).get("output") or {}
    voice = speaking.get("voice")
    tools, choice, tokens = wire.get("tools"), wire.get("tool_choice"), wire.get("max_output_tokens")
    modalities = wire.get("output_modalities")
    return AnswerOptions(
        instructions=wire.get("instructions"),
        voice=None if voice is None else check_voice(voice, session.voices, "response.audio.output.voice"),
        tools=None if tools is None else read_tools(tools),
        tool_choice=None if choice is None else read_tool_choice(choice),
        # A client's "inf" lifts the session's limit: 4096 is the protocol's highest number.
        max_output_tokens=4096 if tokens == "inf" else None if tokens is None else read_max_tokens(tokens),
        output=modalities[0] if modalities else None,
        in_conversation=wire.get("conversation") != "none",
        input=_input(wire["input"], session) if wire.get("input") is not None else None,
        metadata=wire.get("metadata"),
    )


def _input(items: object, session: Session) -> tuple[Item | str, ...]:
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadRequest("'response.input' must be a list of items.", field="response.input", code="invalid_type")
    return tuple(_input_item(item, session, join("response.input", index)) for index, item in enumerate(items))


def _input_item(wire: Wire, session: Session, path: str) -> Item | str:
    if wire.get("type") != "item_reference":
        return read_item(wire, session, path)
    check(ResponseItemReference, wire, path)
    return cast(str, wire["id"])


def _check_honoured(wire: Wire, session: Session) -> None:
    for name in ("prompt", "reasoning"):
        if wire.get(name) is not None:
            raise unsupported(f"response.{name}", "this server has no such thing")
    check_common(wire, "response")
    tools = session.wire["tools"] if wire.get("tools") is None else wire["tools"]
    check_tool_choice(wire.get("tool_choice") or "auto", tools, "response")
    _check_one_of(wire.get("conversation"), ("auto", "none"), "response.conversation")
    wire_format = ((wire.get("audio") or {}).get("output") or {}).get("format") or {}
    _check_one_of(wire_format.get("type"), (session.output_format,), "response.audio.output.format.type")
    _check_metadata(wire.get("metadata") or {})


def _check_one_of(value: str | None, allowed: tuple[str, ...], field: str) -> None:
    if value is not None and value not in allowed:
        raise BadRequest(f"'{field}' can only be {' or '.join(allowed)}.", field=field, code="invalid_value")


def _check_metadata(metadata: dict[str, str]) -> None:
    """OpenAI's limits: 16 pairs, keys of 64 characters, values of 512."""
    too_long = any(len(key) > 64 or len(value) > 512 for key, value in metadata.items())
    if too_long or len(metadata) > 16:
        message = "Metadata is at most 16 pairs, with keys of up to 64 and values of up to 512 characters."
        raise BadRequest(message, field="response.metadata", code="invalid_value")
