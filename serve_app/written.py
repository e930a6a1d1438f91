"""A language model for answers that are written already."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

from deployments.contracts import Finished, LlmItem, Message, TextDelta, Usage


class Written:
    """`contracts.Llm` that says `text`, whatever it is asked."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def generate(self, messages: Sequence[Message], **asked: Any) -> AsyncGenerator[LlmItem, None]:
        yield TextDelta(self._text)
        yield Finished("stop", Usage())

    async def sentence_end(self, messages: Sequence[Message], **asked: Any) -> float | None:
        return None
