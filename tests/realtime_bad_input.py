"""What a client can get wrong on the Realtime socket, as data: used against the socket alone and the whole server."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from serve_app.conversation.history import MAX_TEXT_CHARS
from serve_app.transports.realtime_audio import MAX_ITEM_S, WIRE_RATE_HZ

Frame = str | bytes


@dataclass(frozen=True)
class Bad:
    """Frames of which the last one is wrong; the error's message or `param` has to contain `named`.

    `code` None: any code will do.
    """

    name: str
    frames: tuple[Frame, ...]
    named: str
    code: str | None = None


REF = "evt_bad"


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": REF, **fields})


def _session(**fields: Any) -> tuple[str]:
    return (event("session.update", session={"type": "realtime", **fields}),)


def _input(**fields: Any) -> tuple[str]:
    return _session(audio={"input": fields})


def _vad(**fields: Any) -> tuple[str]:
    return _input(turn_detection={"type": "server_vad", **fields})


def _item(**fields: Any) -> tuple[str]:
    return (event("conversation.item.create", item=fields),)


def _user(*content: Any) -> tuple[str]:
    return _item(type="message", role="user", content=list(content))


def _respond(**fields: Any) -> tuple[str]:
    return (event("response.create", response=fields),)


def _append(data: bytes) -> str:
    return event("input_audio_buffer.append", audio=base64.b64encode(data).decode())


_HELLO = {"type": "message", "role": "user", "id": "item_twice", "content": [{"type": "input_text", "text": "hello"}]}
_CREATED = json.dumps({"type": "conversation.item.create", "item": _HELLO})
_BOOK = "x" * (MAX_TEXT_CHARS + 1)
_LOGPROBS = "item.input_audio_transcription.logprobs"
_TOO_LONG = base64.b64encode(bytes((MAX_ITEM_S + 1) * WIRE_RATE_HZ * 2)).decode()
_TOOL = {"type": "function", "name": "get_weather"}

BAD_INPUT = (
    # frames that are no events
    Bad("broken JSON", ('{"type": "response.create"',), "JSON", "invalid_json"),
    Bad("not JSON at all", ("hello",), "JSON", "invalid_json"),
    Bad("empty frame", ("",), "JSON", "invalid_json"),
    Bad("a list", ('[{"type": "response.create"}]',), "object", "invalid_event"),
    Bad("a number", ("42",), "object", "invalid_event"),
    Bad("null", ("null",), "object", "invalid_event"),
    Bad("NaN", ('{"type": "response.create", "x": NaN}',), "JSON", "invalid_json"),
    Bad("infinite number", ('{"type": "response.create", "x": 1e999}',), "finite", "invalid_value"),
    Bad("too deep", ('{"type": "session.update", "session": ' + "[" * 5000 + "]" * 5000 + "}",), "recursion"),
    Bad("lone surrogate", ('{"type": "\\ud800"}',), "JSON", "invalid_json"),
    Bad("binary frame", (b"\x00\x01" * 240,), "text frames", "binary_frame"),
    Bad("empty binary frame", (b"",), "text frames", "binary_frame"),
    Bad("huge frame", ('{"type": "' + "x" * (15 * 2**20 + 1) + '"}',), "bytes", "event_too_large"),
    # events that are none of ours
    Bad("no type", ('{"event_id": "evt_bad"}',), "type", "missing_required_parameter"),
    Bad("type is a number", ('{"type": 7}',), "type", "unknown_event_type"),
    Bad("unknown type", (event("response.begin"),), "response.begin", "unknown_event_type"),
    Bad("a server's event", (event("response.done"),), "response.done", "unknown_event_type"),
    Bad("WebRTC's event", (event("output_audio_buffer.clear"),), "WebRTC", "unsupported_event"),
    Bad("unknown field", (event("input_audio_buffer.commit", now=True),), "now", "unknown_parameter"),
    Bad("event_id is a number", ('{"type": "response.cancel", "event_id": 5}',), "event_id", "invalid_type"),
    Bad("endless event_id", (event("response.cancel")[:-1] + ', "event_id": "' + "x" * 600 + '"}',), "event_id"),
    # audio
    Bad("append without audio", (event("input_audio_buffer.append"),), "audio", "missing_required_parameter"),
    Bad("audio is a list", (event("input_audio_buffer.append", audio=[1, 2]),), "audio", "invalid_type"),
    Bad("audio is null", (event("input_audio_buffer.append", audio=None),), "audio", "invalid_type"),
    Bad("not base64", (event("input_audio_buffer.append", audio="*not base64*"),), "audio", "invalid_base64"),
    Bad("base64 padding", (event("input_audio_buffer.append", audio="AAAAA"),), "audio", "invalid_base64"),
    Bad("non-ASCII base64", (event("input_audio_buffer.append", audio="ÄÖÜß"),), "audio", "invalid_base64"),
    Bad("odd byte count", (_append(b"\0" * 481),), "481", "invalid_audio"),
    Bad("commit of nothing", (event("input_audio_buffer.clear"), event("input_audio_buffer.commit")), "empty"),
    # the session
    Bad("update without session", (event("session.update"),), "session", "missing_required_parameter"),
    Bad("session is a string", (event("session.update", session="realtime"),), "session", "invalid_type"),
    Bad("session without type", (event("session.update", session={}),), "session.type", "missing_required_parameter"),
    Bad("transcription session", (event("session.update", session={"type": "transcription"}),), "session.type"),
    Bad("beta modalities", _session(modalities=["audio"]), "session.output_modalities", "beta_parameter"),
    Bad("beta format", _session(input_audio_format="pcm16"), "session.audio.input.format", "beta_parameter"),
    Bad("beta voice", _session(voice="alloy"), "session.audio.output.voice", "beta_parameter"),
    Bad("beta turn_detection", _session(turn_detection=None), "session.audio.input.turn_detection", "beta_parameter"),
    Bad("temperature", _session(temperature=0.8), "session.temperature", "unknown_parameter"),
    Bad("instructions is a number", _session(instructions=5), "session.instructions", "invalid_type"),
    Bad("both modalities", _session(output_modalities=["audio", "text"]), "output_modalities", "invalid_value"),
    Bad("no modality", _session(output_modalities=[]), "output_modalities", "invalid_value"),
    Bad("unknown modality", _session(output_modalities=["video"]), "output_modalities[0]", "invalid_value"),
    Bad("no tokens", _session(max_output_tokens=0), "max_output_tokens", "invalid_value"),
    Bad("too many tokens", _session(max_output_tokens=10**400), "max_output_tokens", "invalid_value"),
    Bad("tokens is true", _session(max_output_tokens=True), "max_output_tokens", "invalid_type"),
    Bad("another model", _session(model="gpt-9"), "session.model", "invalid_value"),
    Bad("unknown voice", _session(audio={"output": {"voice": "nobody"}}), "nobody", "invalid_value"),
    Bad("too fast", _session(audio={"output": {"speed": 9}}), "session.audio.output.speed", "invalid_value"),
    Bad("other rate", _input(format={"type": "audio/pcm", "rate": 16000}), "audio.input.format.rate", "invalid_value"),
    Bad("other format", _input(format={"type": "audio/opus"}), "audio.input.format.type", "invalid_value"),
    Bad("format without type", _input(format={}), "audio.input.format.type", "missing_required_parameter"),
    Bad("noise reduction", _input(noise_reduction={"type": "near_field"}), "noise_reduction", "unsupported_parameter"),
    Bad("unknown language", _input(transcription={"language": "English"}), "language", "invalid_value"),
    Bad("unknown detection", _input(turn_detection={"type": "psychic_vad"}), "turn_detection.type", "invalid_value"),
    Bad("threshold above 1", _vad(threshold=1.5), "turn_detection.threshold", "invalid_value"),
    Bad("threshold is a word", _vad(threshold="high"), "turn_detection.threshold", "invalid_type"),
    Bad("padding below 0", _vad(prefix_padding_ms=-1), "prefix_padding_ms", "invalid_value"),
    Bad("silence is a float", _vad(silence_duration_ms=0.5), "silence_duration_ms", "invalid_type"),
    Bad("short idle timeout", _vad(idle_timeout_ms=100), "idle_timeout_ms", "invalid_value"),
    Bad("eagerness in server_vad", _vad(eagerness="high"), "eagerness", "unknown_parameter"),
    Bad("wild eagerness", _input(turn_detection={"type": "semantic_vad", "eagerness": "wild"}), "eagerness"),
    Bad("MCP tool", _session(tools=[{"type": "mcp", "server_label": "x"}]), "tools[0].type", "unsupported_parameter"),
    Bad("tool without name", _session(tools=[{"type": "function"}]), "tools[0].name", "missing_required_parameter"),
    Bad("tool of no type", _session(tools=[{"type": "magic"}]), "tools[0].type", "invalid_value"),
    Bad("bad schema", _session(tools=[_TOOL | {"parameters": "none"}]), "tools[0].parameters", "invalid_type"),
    Bad("two tools of a name", _session(tools=[_TOOL, _TOOL]), "tools[1].name", "invalid_value"),
    Bad("choice of no tool", _session(tool_choice={"type": "function", "name": "nope"}), "nope", "invalid_value"),
    Bad("log probabilities", _session(include=[_LOGPROBS]), "session.include", "unsupported_parameter"),
    Bad("a book of instructions", _session(instructions=_BOOK), "session.instructions", "string_above_max_length"),
    Bad("tracing", _session(tracing="auto"), "session.tracing", "unsupported_parameter"),
    Bad("prompt", _session(prompt={"id": "pmpt_1"}), "session.prompt", "unsupported_parameter"),
    Bad("truncation", _session(truncation="disabled"), "session.truncation", "unsupported_parameter"),
    # items
    Bad("no item", (event("conversation.item.create"),), "item", "missing_required_parameter"),
    Bad("item of no type", _item(role="user"), "item.type", "invalid_value"),
    Bad("unknown role", _item(type="message", role="ghost", content=[]), "item.role", "invalid_value"),
    Bad("no content", _item(type="message", role="user"), "item.content", "missing_required_parameter"),
    Bad("empty content", _user(), "item.content", "invalid_value"),
    Bad("assistant's part in a user's message", _user({"type": "output_text", "text": "x"}), "item.content[0].type"),
    Bad("part without text", _user({"type": "input_text"}), "item.content[0].text", "missing_required_parameter"),
    Bad("an image", _user({"type": "input_image", "image_url": "data:"}), "item.content[0].type"),
    Bad("bad audio in a part", _user({"type": "input_audio", "audio": "AAAA"}), "item.content[0].audio"),
    Bad(
        "assistant's audio",
        _item(type="message", role="assistant", content=[{"type": "output_audio", "audio": "AAAA"}]),
        "item.content[0].type",
        "unsupported_parameter",
    ),
    Bad("endless audio", _user({"type": "input_audio", "audio": _TOO_LONG}), "item.content[0].audio", "audio_too_long"),
    Bad("a book", _user({"type": "input_text", "text": _BOOK}), "item.content", "string_above_max_length"),
    Bad(
        "endless arguments",
        _item(type="function_call", name="f", arguments=_BOOK),
        "item.arguments",
        "string_above_max_length",
    ),
    Bad(
        "endless output",
        _item(type="function_call_output", call_id="c", output=_BOOK),
        "item.output",
        "string_above_max_length",
    ),
    Bad("endless call_id", _item(type="function_call_output", call_id=_BOOK, output="1"), "item.call_id"),
    Bad(
        "an id twice",
        (_CREATED, event("conversation.item.create", item=_HELLO)),
        "item_twice",
        "item_id_already_exists",
    ),
    Bad(
        "after nothing",
        (event("conversation.item.create", item=_HELLO, previous_item_id="item_gone"),),
        "previous_item_id",
        "item_not_found",
    ),
    Bad(
        "output for no call",
        _item(type="function_call_output", call_id="call_gone", output="1"),
        "item.call_id",
        "invalid_value",
    ),
    Bad("output is an object", _item(type="function_call_output", call_id="c", output={}), "item.output"),
    Bad("retrieve of nothing", (event("conversation.item.retrieve", item_id="gone"),), "item_id", "item_not_found"),
    Bad("delete of nothing", (event("conversation.item.delete", item_id="gone"),), "item_id", "item_not_found"),
    Bad("delete without id", (event("conversation.item.delete"),), "item_id", "missing_required_parameter"),
    Bad(
        "truncate of nothing",
        (event("conversation.item.truncate", item_id="item_gone", content_index=0, audio_end_ms=0),),
        "item_gone",
        "item_not_found",
    ),
    Bad(
        "truncate before the start",
        (event("conversation.item.truncate", item_id="x", content_index=0, audio_end_ms=-5),),
        "audio_end_ms",
        "invalid_value",
    ),
    Bad(
        "truncate of another part",
        (event("conversation.item.truncate", item_id="x", content_index=3, audio_end_ms=5),),
        "content_index",
        "invalid_value",
    ),
    # answers
    Bad("cancel of nothing", (event("response.cancel"),), "cancel"),
    Bad("response is a list", (event("response.create", response=[]),), "response", "invalid_type"),
    Bad("unknown field in a response", _respond(colour="red"), "response.colour", "unknown_parameter"),
    Bad("beta field in a response", _respond(modalities=["text"]), "response.output_modalities", "beta_parameter"),
    Bad("some other conversation", _respond(conversation="mine"), "response.conversation", "invalid_value"),
    Bad(
        "reference to nothing",
        _respond(input=[{"type": "item_reference", "id": "item_gone"}]),
        "response.input[0].id",
        "item_not_found",
    ),
    Bad("instructions without end", _respond(instructions=_BOOK), "response.instructions", "string_above_max_length"),
    Bad("input is text", _respond(input="hello"), "response.input", "invalid_type"),
    Bad("input of no type", _respond(input=[{"id": "x"}]), "response.input[0].type", "invalid_value"),
    Bad("long metadata", _respond(metadata={"key": "x" * 600}), "etadata", "invalid_value"),
    Bad("metadata of numbers", _respond(metadata={"key": 1}), "response.metadata.key", "invalid_type"),
    Bad("voice unknown to a response", _respond(audio={"output": {"voice": "nobody"}}), "nobody", "invalid_value"),
)


def has_ref(bad: Bad) -> bool:
    """Does the wrong frame carry an event id that the error has to repeat?"""
    last = bad.frames[-1]
    return isinstance(last, str) and last.count('"event_id"') == 1 and f'"event_id": "{REF}"' in last
