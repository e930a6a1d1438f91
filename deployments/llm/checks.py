"""What a request to a language model must be, checked before any engine sees it."""

import re
from collections.abc import Sequence

from deployments.contracts import Message, Tool
from deployments.errors import BadRequest

ROLES = frozenset({"system", "user", "assistant", "tool"})
TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the names that OpenAI's API accepts
MAX_MESSAGES = 4096
MAX_TOOLS = 128  # OpenAI's limit
MAX_SESSION_ID = 256
LONGEST_TOKEN = 16
"""Characters. Text of more than this many for each token of room is refused without being tokenised: a megabyte of
it would hold the engine for seconds. Real text has about four."""


def check_request(
    messages: Sequence[Message],
    *,
    session_id: str,
    max_tokens: int,
    temperature: float,
    tools: Sequence[Tool],
    tool_choice: str,
    room_tokens: int,
) -> None:
    """Raise `BadRequest`, naming the field, unless an engine can work on this."""
    if not 0 < len(session_id) <= MAX_SESSION_ID:
        raise BadRequest(f"session_id must have 1 to {MAX_SESSION_ID} characters", field="session_id")
    if max_tokens < 0:
        raise BadRequest(f"max_tokens is {max_tokens}; it must not be negative", field="max_tokens")
    if not 0 <= temperature <= 2:
        raise BadRequest(f"temperature is {temperature:g}; it must be from 0 to 2", field="temperature")
    _check_messages(messages, room_tokens)
    _check_tools(tools, tool_choice)


def _check_messages(messages: Sequence[Message], room_tokens: int) -> None:
    if not 0 < len(messages) <= MAX_MESSAGES:
        raise BadRequest(f"there must be 1 to {MAX_MESSAGES} messages, not {len(messages)}", field="messages")
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}]")
    characters = sum(len(message.text) for message in messages)
    if characters > LONGEST_TOKEN * room_tokens:
        raise BadRequest(
            f"the conversation has {characters} characters; the model has room for {room_tokens} tokens",
            field="messages",
            code="context_length_exceeded",
        )


def _check_message(message: Message, field: str) -> None:
    if message.role not in ROLES:
        raise BadRequest(f"{message.role!r} is no role: {', '.join(sorted(ROLES))}", field=f"{field}.role")
    if message.role == "tool" and not message.call_id:
        raise BadRequest("a tool's output needs the call_id that it answers", field=f"{field}.call_id")
    if message.tool_calls and message.role != "assistant":
        raise BadRequest("only the assistant calls tools", field=f"{field}.tool_calls")
    try:
        message.text.encode()
    except UnicodeEncodeError as wrong:
        raise BadRequest("the text has half a surrogate pair in it", field=f"{field}.text") from wrong


def _check_tools(tools: Sequence[Tool], tool_choice: str) -> None:
    names = [tool.name for tool in tools]
    if len(names) > MAX_TOOLS:
        raise BadRequest(f"there are {len(names)} tools; {MAX_TOOLS} are allowed", field="tools")
    for index, name in enumerate(names):
        if not TOOL_NAME.fullmatch(name):
            raise BadRequest(f"{name!r} is no name for a tool: {TOOL_NAME.pattern}", field=f"tools[{index}].name")
        if name in names[:index]:
            raise BadRequest(f"there are two tools named {name}", field=f"tools[{index}].name")
    if tool_choice in ("auto", "none"):
        return
    if not names:
        raise BadRequest(f"tool_choice is {tool_choice!r}, but there are no tools", field="tool_choice")
    if tool_choice != "required" and tool_choice not in names:
        raise BadRequest(f"tool_choice {tool_choice!r} is none of the tools: {', '.join(names)}", field="tool_choice")
