"""A conversation as llama.cpp's chat endpoint wants it.

The prompt of a session must only ever grow at its end, or the cached prefix is lost: nothing here depends on how
many messages there are, and earlier ones are written the same way each time.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deployments.contracts import Message, Tool
from deployments.llm.prompted_tools import call_schema, call_text, instructions


class Neutraliser:
    """Keeps text from being read as the model's own signs.

    llama.cpp looks for <|im_start|> and the like in the whole prompt, a caller's words included: who says or types
    one could speak in the system's name. A space after its first character makes it plain text.
    """

    def __init__(self, signs: Sequence[str]) -> None:
        alternatives = "|".join(re.escape(sign) for sign in sorted(signs, key=len, reverse=True) if len(sign) > 1)
        self._signs = re.compile(alternatives or r"(?!)")

    def __call__(self, text: str) -> str:
        while self._signs.search(text):  # breaking one may join up another; each round breaks at least one for good
            text = self._signs.sub(lambda sign: f"{sign[0][0]} {sign[0][1:]}", text)
        return text


class ChatFormat:
    """Writes requests for one model. `native_tools`: its chat template knows tools; else they are put into words.

    A call that has to be made is always asked for in words and held to a grammar: llama.cpp enforces "required" only
    for the templates whose calls it can take apart, and says nothing where it cannot.
    """

    def __init__(self, *, native_tools: bool, signs: Sequence[str]) -> None:
        self.native_tools = native_tools
        self._plain = Neutraliser(signs)

    def body(self, messages: Sequence[Message], tools: Sequence[Tool], tool_choice: str) -> dict[str, Any]:
        """The parts of the request that say what to answer. `tools` empty: none may be called."""
        if self.native_tools and (tool_choice == "auto" or not tools):
            offered = {"tools": [_function(tool) for tool in tools]} if tools else {}
            return {"messages": [self._native(message) for message in messages], **offered}
        written: list[dict[str, Any]] = list(self._prompted(messages, tools))
        return {"messages": written, **_forced_format(tools, tool_choice)}

    def _native(self, message: Message) -> dict[str, Any]:
        written: dict[str, Any] = {"role": message.role, "content": self._plain(message.text)}
        if message.role == "tool":
            written["tool_call_id"] = message.call_id
        if message.tool_calls:
            written["tool_calls"] = [
                {
                    "id": call.call_id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": self._plain(call.arguments)},
                }
                for call in message.tool_calls
            ]
        return written

    def _prompted(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Iterator[dict[str, str]]:
        """Templates without tools often know no role "tool" either: its output comes as the user's."""
        rules = instructions(tools)
        if rules and messages[0].role != "system":
            yield {"role": "system", "content": self._plain(rules)}
        for index, message in enumerate(messages):
            text = message.text
            if index == 0 and message.role == "system" and rules:
                text = f"{text}\n\n{rules}"
            if message.tool_calls:
                text = "\n".join([*([text] if text else []), *map(call_text, message.tool_calls)])
            if message.role == "tool":
                text = f"The function returned: {text}\nAnswer my question with it, in plain words."
            yield {"role": "user" if message.role == "tool" else message.role, "content": self._plain(text)}


def _function(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _forced_format(tools: Sequence[Tool], tool_choice: str) -> Mapping[str, Any]:
    """A grammar for the answer, where it has to be a call."""
    if not tools or tool_choice == "auto":
        return {}
    schema = call_schema([tool for tool in tools if tool_choice in ("required", tool.name)])
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "call", "schema": schema}}}
