"""Function tools for models whose chat template knows none: explained in words, and read from what was written."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from deployments.contracts import Tool, ToolCall

TAG, END_TAG = "<tool_call>", "</tool_call>"  # what many models were trained to put around a call


def instructions(tools: Sequence[Tool]) -> str:
    """What the system message says about the tools; empty if there are none."""
    if not tools:
        return ""
    lines = [
        json.dumps({"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)})
        for tool in tools
    ]
    return (
        'To call a function, answer with only this JSON: {"name": …, "arguments": {…}}. '
        "Otherwise answer in plain words. The functions:\n" + "\n".join(lines)
    )


def call_text(call: ToolCall) -> str:
    """A call as the model is asked to write it."""
    return f'{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}'


def call_schema(tools: Sequence[Tool]) -> dict[str, Any]:
    """The JSON schema of a call of one of `tools`."""
    return {"anyOf": [_call_of(tool) for tool in tools]}


def _call_of(tool: Tool) -> dict[str, Any]:
    parameters: Mapping[str, Any] = tool.parameters or {"type": "object"}
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": dict(parameters)},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def may_be_call(beginning: str) -> bool:
    """Could an answer that begins like this be a call?"""
    return beginning.startswith(("{", TAG)) or TAG.startswith(beginning)


def new_call(name: str, arguments: str) -> ToolCall:
    """A call with an id that no other has."""
    return ToolCall(f"call_{uuid4().hex[:24]}", name, arguments)


def read_call(text: str, names: Sequence[str]) -> ToolCall | None:
    """The call that `text` is, or None if it is anything else, however nearly a call."""
    try:
        written = json.loads(text.strip().removeprefix(TAG).removesuffix(END_TAG))
    except (ValueError, RecursionError):
        return None
    if not isinstance(written, dict) or written.get("name") not in names:
        return None
    arguments = written.get("arguments")
    if not isinstance(arguments, dict):
        return None
    return new_call(written["name"], json.dumps(arguments, ensure_ascii=False))


class CallReader:
    """Tells an answer in words from a call, while it is being written.

    Words pass at once. What begins like JSON is kept back until its end (no longer than the answer may be), because
    half a call must not be spoken.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._held = ""
        self._words = not names

    def push(self, text: str) -> str:
        """More of the answer in; what may be spoken out."""
        if self._words:
            return text
        self._held += text
        if may_be_call(self._held.lstrip()):
            return ""
        self._words = True
        held, self._held = self._held, ""
        return held

    def finish(self) -> tuple[str, tuple[ToolCall, ...]]:
        """What was kept back: calls, or words after all."""
        call = read_call(self._held, self._names)
        return ("", (call,)) if call else (self._held, ())
