"""An answer in the making: the LLM's text becomes phrases, the phrases become sound, each as soon as it can."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from deployments.contracts import (
    AudioChunk,
    Finished,
    LlmItem,
    Message,
    TextDelta,
    Tool,
    ToolCall,
    Usage,
)
from deployments.errors import AntiphonError, ModelFailed
from serve_app.conversation.items import Modality
from serve_app.conversation.phrases import Phrase, SpokenPhrases
from serve_app.conversation.timeline import Moment
from serve_app.models import Models
from serve_app.options import CallOptions

T = TypeVar("T")

log = logging.getLogger("antiphon.call")


@dataclass(frozen=True, slots=True)
class Brief:
    """What is to be written, and how it shall sound. `on_sentence_end` is told how likely the caller's last
    sentence is over; None: nobody asks."""

    messages: Sequence[Message]
    session_id: str
    output: Modality
    voice: str | None
    speed: float
    max_tokens: int
    tools: tuple[Tool, ...]
    tool_choice: str
    on_sentence_end: Callable[[float | None], None] | None = None


@dataclass(slots=True)
class SpokenPhrase:
    """A phrase, and its sound as it comes. None ends it. Bounded by the phrase's length, so the queue is not."""

    phrase: Phrase
    chunks: "asyncio.Queue[AudioChunk | None]" = field(default_factory=asyncio.Queue)


Part = SpokenPhrase | TextDelta | ToolCall | Finished


async def timely(stream: AsyncGenerator[T, None], what: str, first_s: float, next_s: float) -> AsyncGenerator[T, None]:
    """The items of `stream`; raises ModelFailed when one is late. The stream is closed in any case."""
    limit_s = first_s
    try:
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    item = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as late:
                raise ModelFailed(f"{what} stalled for {limit_s:g} s") from late
            yield item
            limit_s = next_s
    finally:
        await stream.aclose()


@dataclass(slots=True)
class Begun:
    """What of an answer is written. A delta is taken for a token, which most are."""

    text: str = ""
    deltas: int = 0
    told: int = 0
    """Deltas of a request that was broken off, which the next one counts among its prompt."""
    phrases: SpokenPhrases = field(default_factory=SpokenPhrases)

    def push(self, text: str) -> list[Phrase]:
        self.text += text
        self.deltas += 1
        return self.phrases.push(text)

    def together(self, finished: Finished) -> Finished:
        """As if it had been one request."""
        usage = finished.usage
        prompt = usage.prompt_tokens - self.told
        return replace(
            finished, usage=Usage(prompt, min(usage.cached_tokens, prompt), usage.generated_tokens + self.told)
        )


class Draft:
    """Writes and voices one answer into `parts`, at most `phrases_ahead` phrases ahead of whoever takes them.

    The last part is `Finished`. `stamp` is told each moment when it comes.
    """

    def __init__(self, models: Models, options: CallOptions, stamp: Callable[[Moment], None]) -> None:
        self.parts: asyncio.Queue[Part] = asyncio.Queue(options.phrases_ahead)
        self._to_voice: asyncio.Queue[SpokenPhrase | None] = asyncio.Queue(options.phrases_ahead + 1)
        self._first_sound = asyncio.Event()
        self._models = models
        self._options = options
        self._stamp = stamp

    async def run(self, brief: Brief) -> None:
        """Write until the LLM has finished and everything has its sound."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(brief))
            group.create_task(self._voice(brief))

    async def _write(self, brief: Brief) -> None:
        """Raises ModelFailed when the stream ends without having finished."""
        self._stamp("llm_started")
        begun, alone = Begun(), self._yields(brief)
        if not alone:
            await self.judge(brief)
        whole = await self._write_on(brief, begun, until_first=alone)
        if alone:
            await self.judge(brief)
        if not whole:
            await self._first_sound.wait()
            await self._write_on(brief, begun, until_first=False)

    async def judge(self, brief: Brief) -> None:
        """Is the caller's sentence over? Asked after the first phrase where that is written alone: it is heard sooner
        so, and the LLM, which has read all but a word of the question, says so before the silence is long enough."""
        if brief.on_sentence_end is None:
            return
        try:
            async with asyncio.timeout(self._options.deadlines.end_of_turn_s):
                brief.on_sentence_end(
                    await self._models.llm.sentence_end(brief.messages, session_id=brief.session_id, tools=brief.tools)
                )
        except (AntiphonError, TimeoutError) as failed:
            log.warning("the LLM gave no opinion on the turn's end: %s", failed)

    def _yields(self, brief: Brief) -> bool:
        """Stop writing while the first phrase is made into sound? Calls of tools must be read in one go."""
        return self._options.first_phrase_alone and brief.output == "audio" and not brief.tools

    async def _write_on(self, brief: Brief, begun: "Begun", *, until_first: bool) -> bool:
        """Go on with the answer. False: only its first phrase is written, and there may be more."""
        limits = self._options.deadlines
        items = timely(self._generate(brief, begun), "the LLM", limits.first_token_s, limits.next_token_s)
        try:
            async for item in items:
                self._stamp("llm_first_token")
                if isinstance(item, TextDelta) and brief.output == "audio":
                    phrases = begun.push(item.text)
                    await self._add(phrases)
                    if phrases and until_first and begun.deltas < brief.max_tokens:
                        begun.told = begun.deltas
                        return False
                    continue
                if not isinstance(item, TextDelta):
                    await self._add(begun.phrases.flush())
                if isinstance(item, Finished):
                    self._stamp("llm_finished")
                    await self._to_voice.put(None)
                    item = begun.together(item)
                await self.parts.put(item)
                if isinstance(item, Finished):
                    return True
            raise ModelFailed("the LLM's answer broke off")
        finally:
            await items.aclose()

    def _generate(self, brief: Brief, begun: "Begun") -> AsyncGenerator[LlmItem, None]:
        """The rest of an answer that has begun."""
        return self._models.llm.generate(
            [*brief.messages, Message("assistant", begun.text)] if begun.text else brief.messages,
            session_id=brief.session_id,
            max_tokens=brief.max_tokens - begun.deltas,
            temperature=self._options.temperature,
            tools=brief.tools,
            tool_choice=brief.tool_choice,
        )

    async def _add(self, phrases: list[Phrase]) -> None:
        for phrase in phrases:
            part = SpokenPhrase(phrase)
            await self.parts.put(part)
            await self._to_voice.put(part)

    async def _voice(self, brief: Brief) -> None:
        spoke = False
        while part := await self._to_voice.get():
            if part.phrase.spoken:
                await self._speak(part, brief)
                spoke = True
            part.chunks.put_nowait(None)
            self._first_sound.set()
        if spoke:
            self._stamp("tts_finished")

    async def _speak(self, part: SpokenPhrase, brief: Brief) -> None:
        self._stamp("tts_started")
        limits = self._options.deadlines
        sound = self._models.tts.speak(part.phrase.spoken, voice=brief.voice, speed=brief.speed)
        chunks = timely(sound, "the TTS", limits.first_audio_s, limits.next_audio_s)
        try:
            async for chunk in chunks:
                self._stamp("tts_first_audio")
                part.chunks.put_nowait(chunk)
                self._first_sound.set()
        finally:
            await chunks.aclose()
