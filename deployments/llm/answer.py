"""What llama.cpp streams, as the contract's items."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from deployments.contracts import Finished, LlmItem, TextDelta, ToolCall, Usage
from deployments.errors import AntiphonError, BadRequest, ModelFailed
from deployments.llm.going_round import GoingRound
from deployments.llm.prompted_tools import CallReader, new_call


class AnswerReader:
    """Reads one answer's chunks (OpenAI's chat.completion.chunk, with llama.cpp's additions).

    `tool_names` are those that may be called. llama.cpp finds the calls of many templates; those that it passes on
    as text are read here, see prompted_tools.
    """

    def __init__(self, tool_names: Sequence[str]) -> None:
        self._names = tool_names
        self._text = CallReader(tool_names)
        self._native: dict[int, dict[str, str]] = {}
        self._reason = ""
        self._usage = Usage()
        self._rounds = GoingRound()
        self._pieces = 0
        self.going_round = False
        """It says the same again and again: what follows is worth nothing, and the answer may be finished here."""

    def push(self, chunk: Mapping[str, Any]) -> Iterator[LlmItem]:
        """The text that the chunk adds. Raises what the server reports as an error."""
        if "error" in chunk:
            raise server_error(chunk["error"])
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
        elif read := chunk.get("prompt_progress"):
            self._usage = Usage(prompt_tokens=read["total"], cached_tokens=read["cache"])
        for choice in chunk.get("choices", ()):
            self._reason = choice.get("finish_reason") or self._reason
            delta = choice.get("delta", {})
            for part in delta.get("tool_calls") or ():
                self._add_call(part)
            self._pieces += bool(delta.get("content"))
            if text := self._text.push(delta.get("content") or ""):
                self.going_round = self._rounds.push(text) or self.going_round
                yield TextDelta(text)

    def finish(self) -> Iterator[LlmItem]:
        """What is left to say, the calls, and `Finished`."""
        if self.going_round and not self._reason:  # it was not read to its end, where the server counts
            self._reason, self._usage = "stop", replace(self._usage, generated_tokens=self._pieces)
        if not self._reason:
            raise ModelFailed("the model stopped in the middle of its answer")
        held, written = self._text.finish()
        calls = [*written, *self._native_calls()]
        if held:
            yield TextDelta(held)
        yield from calls
        reason = "length" if self._reason == "length" else "stop"
        yield Finished("tool_calls" if calls else reason, self._usage)  # type: ignore[arg-type]

    def _add_call(self, part: Mapping[str, Any]) -> None:
        call = self._native.setdefault(part.get("index", 0), {"name": "", "arguments": ""})
        for key, value in part.get("function", {}).items():
            call[key] = call.get(key, "") + (value or "")

    def _native_calls(self) -> Iterator[ToolCall]:
        """Those that are whole: a call cut off by `max_tokens` is no call."""
        for call in self._native.values():
            if call["name"] in self._names and _is_object(call["arguments"]):
                yield new_call(call["name"], call["arguments"])


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _usage(usage: Mapping[str, Any]) -> Usage:
    return Usage(
        prompt_tokens=usage["prompt_tokens"],
        cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        generated_tokens=usage["completion_tokens"],
    )


def server_error(error: Mapping[str, Any]) -> AntiphonError:
    """Whose fault it is: the server's 4xx are the request's, the rest is ours."""
    if error.get("type") == "exceed_context_size_error":
        return BadRequest(
            f"the conversation has {error.get('n_prompt_tokens')} tokens; the model has room for {error.get('n_ctx')}",
            field="messages",
            code="context_length_exceeded",
        )
    message = " ".join(str(error.get("message", "no reason given")).split())[:300]
    if 400 <= int(error.get("code", 500)) < 500:
        return BadRequest(f"the model refused the request: {message}")
    return ModelFailed(f"the model failed: {message}")
