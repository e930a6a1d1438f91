"""Items and answers of a conversation, as the Realtime protocol writes them."""

import base64
from collections.abc import Sequence
from typing import Any

from deployments.audio import resample
from deployments.contracts import SPEECH_RATE_HZ, Pcm, Usage
from serve_app.conversation.items import Answer, FunctionCallItem, FunctionOutputItem, Item, MessageItem
from serve_app.transports.realtime_audio import WIRE_RATE_HZ
from serve_app.transports.realtime_parse import Wire

_REASONS = ("turn_detected", "client_cancelled", "max_output_tokens", "content_filter")


def item_wire(item: Item, *, status: str | None = None, with_audio: bool = False) -> Wire:
    """An item with all its content. Audio (PCM16 at 24 kHz) is left out unless it is asked for, as OpenAI does."""
    common: Wire = {"id": item.id, "object": "realtime.item", "status": status or item.status}
    if isinstance(item, FunctionCallItem):
        call = item.call
        return common | {
            "type": "function_call",
            "name": call.name,
            "call_id": call.call_id,
            "arguments": call.arguments,
        }
    if isinstance(item, FunctionOutputItem):
        return common | {"type": "function_call_output", "call_id": item.call_id, "output": item.output}
    return common | {"type": "message", "role": item.role, "content": [_content(item, with_audio)]}


def item_begun(item: Item) -> Wire:
    """An answer's item before anything of it was made."""
    wire = item_wire(item, status="in_progress")
    empty: Wire = {"arguments": ""} if isinstance(item, FunctionCallItem) else {"content": []}
    return wire | empty


def _content(item: MessageItem, with_audio: bool) -> Wire:
    side = "output" if item.role == "assistant" else "input"
    if item.modality == "text" or item.role == "system":
        return {"type": f"{side}_text", "text": item.text}
    content: Wire = {"type": f"{side}_audio", "transcript": item.text}
    if with_audio and item.audio is not None:
        content["audio"] = _base64(item.audio)
    return content


def _base64(pcm: Pcm) -> str:
    data = resample(pcm, SPEECH_RATE_HZ, WIRE_RATE_HZ).astype("<i2").tobytes()
    return base64.b64encode(data).decode("ascii")


def response_wire(answer: Answer, output: Sequence[Wire], conversation_id: str, speaking: Wire) -> Wire:
    """An answer as a response object: while it runs, and when it is done. `speaking` has its `format` and `voice`."""
    return {
        "object": "realtime.response",
        "id": answer.id,
        "status": answer.status,
        "status_details": _status_details(answer),
        "output": list(output),
        "conversation_id": conversation_id if answer.options.in_conversation else None,
        "output_modalities": [answer.output],
        "max_output_tokens": answer.max_output_tokens or "inf",
        "audio": {"output": {"format": speaking["format"], "voice": speaking["voice"]}},
        "usage": None if answer.usage is None else _usage(answer.usage),
        "metadata": None if answer.options.metadata is None else dict(answer.options.metadata),
    }


def _status_details(answer: Answer) -> Wire | None:
    if answer.status in ("in_progress", "completed"):
        return None
    details: Wire = {"type": answer.status}
    if answer.status == "failed":
        details["error"] = {"type": "server_error", "code": "answer_failed", "message": answer.reason or "It failed."}
    elif answer.reason in _REASONS:
        details["reason"] = answer.reason
    return details


def _usage(usage: Usage) -> dict[str, Any]:
    """The models behind an answer read and write text, so the audio counts are zero."""
    return {
        "total_tokens": usage.prompt_tokens + usage.generated_tokens,
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.generated_tokens,
        "input_token_details": {
            **_text_tokens(usage.prompt_tokens),
            "image_tokens": 0,
            "cached_tokens": usage.cached_tokens,
            "cached_tokens_details": {**_text_tokens(usage.cached_tokens), "image_tokens": 0},
        },
        "output_token_details": _text_tokens(usage.generated_tokens),
    }


def _text_tokens(count: int) -> dict[str, int]:
    return {"text_tokens": count, "audio_tokens": 0}


def part_wire(item: MessageItem, text: str) -> Wire:
    """A content part of an answer's message; the protocol calls the types otherwise here than in an item."""
    return {"type": "audio", "transcript": text} if item.modality == "audio" else {"type": "text", "text": text}
