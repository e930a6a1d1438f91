"""What of an LLM's answer has come, and how to ask for the rest of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from deployments.contracts import Finished, LlmItem, Message, TextDelta, ToolCall, Usage
from deployments.urgency import Urgency
from serve_app.continuation import as_one, going_on
from serve_app.remotes.request import Request


class UnfinishedAnswer:
    """A delta is taken for a token, which most are."""

    def __init__(self, messages: Sequence[Message], max_tokens: int, how: Mapping[str, Any], urgency: Urgency) -> None:
        self._messages = messages
        self._max_tokens = max_tokens
        self._how = how
        self._urgency = urgency
        self._said: list[str] = []
        self._called = False
        self._told = 0
        self._nothing_to_ask = False

    def ask(self) -> Request | None:
        """The request for what is missing. None where no more can be asked for: a call of a tool has no text to go on
        after, and is complete; so is an answer of as many tokens as it may have."""
        self._told = len(self._said)
        self._nothing_to_ask = self._called or self._told >= self._max_tokens > 0
        if self._nothing_to_ask:
            return None
        how = {**self._how, "max_tokens": self._max_tokens - self._told}
        prompt = going_on(self._messages, "".join(self._said))
        sort = "prepare" if self._max_tokens == 0 else "write"
        return Request("generate", (prompt,), how, sort, self._urgency)

    def take(self, item: LlmItem) -> LlmItem:
        """An item that came, as part of the whole."""
        if isinstance(item, TextDelta):
            self._said.append(item.text)
        elif isinstance(item, ToolCall):
            self._called = True
        elif self._told:
            return as_one(item, self._told)
        return item

    def end_without_a_model(self) -> Finished | None:
        """The answer's end, where it broke off and there was nothing to ask for."""
        if not self._nothing_to_ask:
            return None
        return Finished("tool_calls" if self._called else "length", Usage(generated_tokens=self._told))
