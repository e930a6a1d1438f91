"""Fields that mean the same in a session and in a single response: what is allowed, and what it means."""

import re
from collections.abc import Sequence
from typing import Literal

from deployments.contracts import Tool
from deployments.errors import BadRequest
from serve_app.conversation.history import check_length
from serve_app.transports.realtime_parse import Wire, join, shown

MOVED = {
    "modalities": "output_modalities",
    "voice": "audio.output.voice",
    "speed": "audio.output.speed",
    "input_audio_format": "audio.input.format",
    "output_audio_format": "audio.output.format",
    "input_audio_transcription": "audio.input.transcription",
    "input_audio_noise_reduction": "audio.input.noise_reduction",
    "turn_detection": "audio.input.turn_detection",
    "max_response_output_tokens": "max_output_tokens",
}
"""Fields of the beta protocol, and where the GA protocol has them."""


def refuse_moved(fields: object, path: str) -> None:
    """Beta names get an error that says where the field is now."""
    for name in MOVED.keys() & fields.keys() if isinstance(fields, dict) else ():
        field = join(path, name)
        message = f"'{field}' is a name of the beta protocol; use '{path}.{MOVED[name]}'."
        raise BadRequest(message, field=field, code="beta_parameter")


def check_voice(voice: object, voices: Sequence[str], field: str) -> str:
    name = voice["id"] if isinstance(voice, dict) else voice
    if name not in voices:
        message = f"Unknown voice '{str(name)[:60]}'; known are {', '.join(voices) or 'none'}."
        raise BadRequest(message, field=field, code="invalid_value")
    return str(name)


def check_tools(tools: Sequence[Wire], path: str) -> None:
    seen: set[str] = set()
    for index, tool in enumerate(tools):
        field = join(path, "tools", index)
        if tool.get("type") != "function":
            raise unsupported(join(field, "type"), "only function tools can be called here")
        name = tool.get("name")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name or ""):
            message = f"'{field}.name' must have 1 to 64 letters, digits, '_' or '-'."
            code = "invalid_value" if name else "missing_required_parameter"
            raise BadRequest(message, field=f"{field}.name", code=code)
        if name in seen:
            raise BadRequest(f"There are two tools named '{name}'.", field=f"{field}.name", code="invalid_value")
        if not isinstance(tool.get("parameters"), dict | None):
            message = f"'{field}.parameters' must be a JSON schema, which is an object."
            raise BadRequest(message, field=f"{field}.parameters", code="invalid_type")
        seen.add(str(name))


def check_common(fields: Wire, path: str) -> None:
    """Fields that mean the same in a session and in a response."""
    check_length(fields.get("instructions") or "", f"{path}.instructions")
    if modalities := fields.get("output_modalities"):
        if len(modalities) != 1:
            message = 'The output is either ["audio"] (which comes with its transcript) or ["text"], not both.'
            raise BadRequest(message, field=f"{path}.output_modalities", code="invalid_value")
    elif modalities is not None:
        raise BadRequest("Choose one modality.", field=f"{path}.output_modalities", code="invalid_value")
    tokens = fields.get("max_output_tokens")
    if isinstance(tokens, int):
        check_range(tokens, (1, 4096), f"{path}.max_output_tokens")
    check_tools(fields.get("tools") or (), path)
    choice = fields.get("tool_choice")
    if isinstance(choice, dict) and choice["type"] != "function":
        raise unsupported(f"{path}.tool_choice.type", "only function tools can be called here")
    if fields.get("parallel_tool_calls") is False:
        raise unsupported(f"{path}.parallel_tool_calls", "the model may always call several tools")


def check_range(value: float, limits: tuple[float, float], field: str) -> None:
    low, high = limits
    if not low <= value <= high:
        raise BadRequest(
            f"'{field}' must be from {low} to {high}, not {shown(value)}.", field=field, code="invalid_value"
        )


def unsupported(field: str, why: str) -> BadRequest:
    return BadRequest(f"'{field}' cannot be set: {why}.", field=field, code="unsupported_parameter")


def read_tools(tools: Sequence[Wire]) -> tuple[Tool, ...]:
    return tuple(Tool(tool["name"], tool.get("description") or "", tool.get("parameters") or {}) for tool in tools)


def read_tool_choice(choice: str | Wire) -> str:
    return choice if isinstance(choice, str) else str(choice["name"])


def read_max_tokens(value: int | Literal["inf"]) -> int | None:
    return None if value == "inf" else value


def check_tool_choice(choice: str | Wire, tools: Sequence[Wire], path: str) -> None:
    if isinstance(choice, dict) and choice["name"] not in (tool["name"] for tool in tools):
        message = f"There is no tool named '{choice['name'][:64]}'."
        raise BadRequest(message, field=f"{path}.tool_choice.name", code="invalid_value")


def tool_wire(tool: Tool) -> Wire:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
    }


def tool_choice_wire(choice: str) -> str | Wire:
    return choice if choice in ("auto", "none", "required") else {"type": "function", "name": choice}
