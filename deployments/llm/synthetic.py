"""A language model that needs no weights and always answers the same, so that whole conversations can be tested.

What it answers; the first rule that fits wins, and "the last words" are those of the last user message:

| when | then |
|---|---|
| `max_tokens` is 0 | only `Finished` |
| the last message is a tool's output | `The answer is {output}.` |
| `tool_choice` is a tool's name, or "required" | calls that tool; "required" alone: the one named, else the first |
| tools are given, and the last words name one (`get_weather`: "get weather") | calls it |
| the last words have "first" in them, and "say" or "said" | `First you said: {the first user message}.` |
| the last words have "count to N" in them, N from 1 to 200, in digits or words | `One two three …`, ten to a sentence |
| anything else | `You said: {the last words}.`, or `You said nothing.` |

A call's arguments are the tool's required properties: strings get the words after the tool's name (all of them if it
is not named), numbers the first number said or 0, booleans true, arrays and objects nothing. If the last message is
the assistant's, the answer before it is gone on with from where it breaks off.

An item of the timing model is a word; so are `max_tokens` and the numbers of `Usage`. `temperature` changes nothing.
The "cache" of a session is its last prompt.

A caller's sentence is over (.9) unless its last word is one that nobody ends with, such as "and" (.001); that takes as
long as the first word of an answer.
"""

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Sequence
from itertools import takewhile

from deployments.contracts import (
    Capabilities,
    Finished,
    LlmItem,
    Message,
    ModelFiles,
    TextDelta,
    Tool,
    ToolCall,
    Usage,
)
from deployments.llm.options import LlmOptions
from deployments.llm.slots import Kept
from deployments.llm.synthetic_answers import answer
from deployments.synthetic import Clockwork

UNFINISHED = ("and", "but", "or", "because", "the", "a", "to", "of", "if", "with", "my", "is")
SESSIONS = 256
"""Prompts remembered; beyond that the one unused for longest is forgotten, as in a real cache."""


class SyntheticLlm:
    """Deterministic answers at the pace of a stated timing model."""

    def __init__(self, options: LlmOptions) -> None:
        self._clock = Clockwork(options.timing)
        self._prompts: OrderedDict[str, list[str]] = OrderedDict()

    @classmethod
    def load(cls, files: ModelFiles | None, options: LlmOptions) -> "SyntheticLlm":
        """Nothing to load; `files` is ignored."""
        del files
        return cls(options)

    def capabilities(self) -> Capabilities:
        return Capabilities(streaming=True, tools=True)

    def kept(self) -> Kept:
        """Whose prompts are remembered."""
        return Kept(tuple(self._prompts), len(self._prompts), SESSIONS)

    async def unload(self) -> None:
        self._prompts.clear()

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        session_id: str,
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
    ) -> AsyncGenerator[LlmItem, None]:
        """As `contracts.Llm.generate`."""
        del temperature
        prompt = prompt_words(messages)
        cached = self._remember(session_id, prompt)
        async with self._clock.request():
            await self._clock.first_item()
            if max_tokens == 0:
                yield Finished("length", Usage(len(prompt), cached, 0))
                return
            items = answer_items(messages, tools, tool_choice)
            for index, item in enumerate(items[:max_tokens]):
                if index:
                    await self._clock.items()
                yield item
            yield _finished(items, max_tokens, len(prompt), cached)

    async def sentence_end(
        self, messages: Sequence[Message], *, session_id: str, tools: Sequence[Tool] = ()
    ) -> float | None:
        """As `contracts.Llm.sentence_end`."""
        del tools
        self._remember(session_id, prompt_words(messages))
        async with self._clock.request():
            await self._clock.first_item()
        if not messages or messages[-1].role != "user":
            return None
        *_, last = messages[-1].text.rstrip(" .?!,").lower().split() or [""]
        return 0.001 if last in UNFINISHED else 0.9

    def _remember(self, session_id: str, prompt: list[str]) -> int:
        """Keep the prompt; how many words of it the session's last one began with."""
        before = self._prompts.pop(session_id, [])
        self._prompts[session_id] = prompt
        if len(self._prompts) > SESSIONS:
            self._prompts.popitem(last=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, prompt, strict=False)))


def _finished(items: Sequence[LlmItem], max_tokens: int, prompt: int, cached: int) -> Finished:
    usage = Usage(prompt, cached, min(len(items), max_tokens))
    if len(items) > max_tokens:
        return Finished("length", usage)
    called = any(isinstance(item, ToolCall) for item in items)
    return Finished("tool_calls" if called else "stop", usage)


def prompt_words(messages: Sequence[Message]) -> list[str]:
    """The words of a prompt. A role counts as a word, as it does in a chat template."""

    def words() -> Iterator[str]:
        for message in messages:
            yield f"<{message.role}>"
            yield from message.text.split()
            for call in message.tool_calls:
                yield f"{call.name}({call.arguments})"

    return list(words())


def answer_items(messages: Sequence[Message], tools: Sequence[Tool], tool_choice: str) -> list[LlmItem]:
    """The whole answer, a word or a call to an item. Joined up, the words' texts are the answer's text."""
    ends_with_answer = bool(messages) and messages[-1].role == "assistant"
    said = answer(messages[:-1] if ends_with_answer else messages, tools, tool_choice)
    if isinstance(said, ToolCall):
        return [said]
    rest = said.removeprefix(messages[-1].text) if ends_with_answer else said
    return [TextDelta(word) for word in re.findall(r"\s*\S+", rest)]
