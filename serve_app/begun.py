"""What of an answer is written: the LLM's text as parts for whoever speaks them or shows them."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from deployments.contracts import AudioChunk, Finished, LlmItem, TextDelta, ToolCall
from serve_app.continuation import as_one
from serve_app.conversation.phrases import Phrase, SpokenPhrases


@dataclass(slots=True)
class SpokenPhrase:
    """A phrase, and its sound as it comes. None ends it. Bounded by the phrase's length, so the queue is not."""

    phrase: Phrase
    chunks: "asyncio.Queue[AudioChunk | None]" = field(default_factory=asyncio.Queue)
    made_samples: int = 0


Part = SpokenPhrase | TextDelta | ToolCall | Finished


@dataclass(slots=True)
class Begun:
    """What of an answer is written. A delta is taken for a token, which most are. `parts` are on their way."""

    text: str = ""
    deltas: int = 0
    told: int = 0
    """Deltas of a request that was broken off, which the next one counts among its prompt."""
    phrases: SpokenPhrases = field(default_factory=SpokenPhrases)
    parts: deque[Part] = field(default_factory=deque)
    ending: bool = False
    """Its text is complete: calls of tools follow, or nothing."""

    def take(self, item: LlmItem, *, spoken: bool) -> bool:
        """What the LLM says becomes parts. Were there phrases among them?"""
        phrases: list[Phrase] = []
        if isinstance(item, TextDelta) and spoken:
            self.text += item.text
            self.deltas += 1
            phrases = self.phrases.push(item.text)
        elif not isinstance(item, TextDelta):
            self.ending = True
            phrases = self.phrases.flush()
        self.parts.extend(map(SpokenPhrase, phrases))
        if isinstance(item, Finished):
            self.parts.append(as_one(item, self.told))
        elif isinstance(item, ToolCall) or not spoken:
            self.parts.append(item)
        return bool(phrases)

    def take_all(self) -> list[Part]:
        """What is on its way."""
        parts = [*self.parts]
        self.parts.clear()
        return parts

    def hurry(self, words: int) -> None:
        """What is written becomes a phrase, though it does not end well, if it is so many words."""
        self.parts.extend(map(SpokenPhrase, self.phrases.hurry(words)))
