"""What the synthetic language model answers: a pure function of the conversation. The rules stand in `synthetic`."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from deployments.contracts import Message, Tool, ToolCall

ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
HIGHEST = 200
FIRST = re.compile(r"\bfirst\b", re.IGNORECASE)
SAID = re.compile(r"\b(said|say)\b", re.IGNORECASE)
COUNT = re.compile(r"\bcount(?:ing)? to ([\w -]+)", re.IGNORECASE)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
EDGES = " \t\n.,;:!?"


def answer(messages: Sequence[Message], tools: Sequence[Tool], tool_choice: str) -> str | ToolCall:
    """The first rule that fits. `messages` ends with a user's or a tool's message; an assistant's is left off."""
    if messages and messages[-1].role == "tool":
        return f"The answer is {messages[-1].text.strip(EDGES)}."
    said = [message.text.strip(EDGES) for message in messages if message.role == "user"]
    last = said[-1] if said else ""
    if tool := _wanted(tools, tool_choice, last):
        return ToolCall(f"call_{len(messages)}", tool.name, json.dumps(_arguments(tool, last), ensure_ascii=False))
    if FIRST.search(last) and SAID.search(last):
        return f"First you said: {said[0]}."
    if upto := _count_to(last):
        return counted(upto)
    return f"You said: {last}." if last else "You said nothing."


def _wanted(tools: Sequence[Tool], tool_choice: str, text: str) -> Tool | None:
    if tool_choice == "none" or not tools:
        return None
    named = next((tool for tool in tools if _spoken(tool).search(text)), None)
    if tool_choice == "auto":
        return named
    if tool_choice == "required":
        return named or tools[0]
    return next(tool for tool in tools if tool.name == tool_choice)


def _spoken(tool: Tool) -> re.Pattern[str]:
    """A tool's name as one says it."""
    return re.compile(re.escape(tool.name.replace("_", " ")), re.IGNORECASE)


def _arguments(tool: Tool, text: str) -> dict[str, Any]:
    named = _spoken(tool).search(text)
    rest = (text[named.end() :] if named else text).strip(EDGES)
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    required = [name for name in tool.parameters.get("required", ()) if name in properties]
    return {name: _value(properties[name].get("type"), rest, text) for name in required}


def _value(kind: object, rest: str, text: str) -> Any:
    number = NUMBER.search(text)
    values: dict[object, Any] = {
        "integer": int(float(number[0])) if number else 0,
        "number": float(number[0]) if number else 0,
        "boolean": True,
        "array": [],
        "object": {},
        "null": None,
    }
    return values.get(kind, rest) if isinstance(kind, str) else rest


def spelled(number: int) -> str:
    """0 to 999 in words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        ones = number % 10
        return TENS[number // 10 - 2] + (f"-{ONES[ones]}" if ones else "")
    rest = number % 100
    return f"{ONES[number // 100]} hundred" + (f" {spelled(rest)}" if rest else "")


BY_NAME = {spelled(number): number for number in range(1, HIGHEST + 1)} | {"a hundred": 100}


def _count_to(text: str) -> int | None:
    """How far to count, 1 to 200, if that is what `text` asks for: in digits or words, as an ASR may write it."""
    if not (asked := COUNT.search(text)):
        return None
    words = asked[1].lower().split()
    for length in range(min(4, len(words)), 0, -1):
        name = " ".join(words[:length])
        number = int(name) if name.isdecimal() else BY_NAME.get(name)
        if number and number <= HIGHEST:
            return number
    return None


def counted(upto: int) -> str:
    """The numbers from one, ten to a sentence."""
    sentences = (range(first, min(first + 10, upto + 1)) for first in range(1, upto + 1, 10))
    return " ".join(" ".join(map(spelled, sentence)).capitalize() + "." for sentence in sentences)
