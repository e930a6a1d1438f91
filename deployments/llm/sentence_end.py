"""Is the caller's sentence over? Asked of the language model: would it write a full stop next, or another word?

The prompt is that of the answer, cut off behind the caller's last word, so that asking prepares the answer as well.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from deployments.contracts import Message, Tool
from deployments.llm.chat import ChatFormat

CANDIDATES = 60
"""Next tokens that are looked at: the signs that end a sentence are few, and what is further down is noise."""
_ENDS = (".", "?", "!", "…")
_WRITTEN_BY_ASR = ".?!…,;:- "
"""Whisper ends whatever it hears with a full stop, unfinished speech as well."""
_CUT = "\N{REPLACEMENT CHARACTER}cut here\N{REPLACEMENT CHARACTER}"


class OpenPrompt:
    """Writes a conversation as the model's chat template does, and leaves its last sentence open."""

    def __init__(self, template: str, chat: ChatFormat) -> None:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)  # as templates expect it
        environment.globals["raise_exception"] = _raise
        self._chat = chat
        try:
            self._template = environment.from_string(template)
        except TemplateError:
            self._template = environment.from_string("")

    def up_to_last_word(self, messages: Sequence[Message], tools: Sequence[Tool]) -> str | None:
        """None where the last message is not the caller's, or the template is beyond us."""
        if not messages or messages[-1].role != "user":
            return None
        last = Message("user", messages[-1].text.rstrip(_WRITTEN_BY_ASR) + _CUT)
        body = self._chat.body([*messages[:-1], last], tools, "auto")
        try:
            written = self._template.render(messages=body["messages"], tools=body.get("tools"), bos_token="")
        except (TemplateError, TypeError, ValueError):
            return None
        prompt, found, _ = written.partition(_CUT)
        return prompt if found else None


def _raise(message: str) -> None:
    raise TemplateError(message)


def end_probability(chunk: Mapping[str, Any]) -> float | None:
    """Of a completion's chunk that brings the first token: how likely the sentence ends before it, 0 to 1."""
    for choice in chunk.get("choices", ()):
        for token in (choice.get("logprobs") or {}).get("content", ()):
            likely = [
                math.exp(other["logprob"])
                for other in token["top_logprobs"]
                # the model's own signs, as that for the end of a message, are told as empty text
                if not other["token"] or other["token"].lstrip().startswith(_ENDS)
            ]
            return min(1.0, sum(likely))
    return None
