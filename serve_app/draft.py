"""An answer in the making: the LLM's text becomes phrases, the phrases become sound, each as soon as it can."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from math import inf

from deployments.contracts import Finished, LlmItem
from deployments.errors import AntiphonError, ModelFailed
from deployments.store import Kind
from deployments.urgency import Priority, urgent
from serve_app.begun import Begun, Part, SpokenPhrase
from serve_app.brief import Brief
from serve_app.call_options import CallOptions
from serve_app.continuation import going_on
from serve_app.conversation.phrases import FIRST_WORDS, HURRIED_WORDS, LATE_WORDS, Phrase
from serve_app.conversation.timeline import Moment
from serve_app.flow import Brake, Flow
from serve_app.models import Models
from serve_app.opening import Words
from serve_app.supply import Supply
from serve_app.timely import timely

log = logging.getLogger("antiphon.call")

HELD_S = 0.5
"""For so long sound is held at most until more is written: an LLM may pause anywhere."""


class Draft:
    """Writes and voices one answer into `parts`, at most `phrases_ahead` phrases ahead of whoever takes them.

    The last part is `Finished`. `stamp` is told each moment when it comes. It is speculation until it is `wanted`;
    while the call's `flow` is paused nothing is made in advance.
    """

    def __init__(
        self,
        models: Models,
        options: CallOptions,
        stamp: Callable[[Moment], None],
        flow: Flow | None = None,
        words: Words | None = None,
    ) -> None:
        self.parts: asyncio.Queue[Part] = asyncio.Queue(options.phrases_ahead)
        self._to_voice: asyncio.Queue[SpokenPhrase | None] = asyncio.Queue(options.phrases_ahead + 1)
        self._first_sound = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._supply = Supply(self._clock)
        self._words = words or Words()
        self._to_begin_with = int(self._words)
        self._goes_on = asyncio.Event()  # enough is written to be heard
        self._first_sounds = False  # a short one, and nothing of the second phrase yet
        self._unvoiced = 0  # phrases that the TTS has, or will get
        self._begun: Begun | None = None
        self._models = models
        self._options = options
        self._stamp = stamp
        self._flow = flow or Flow()
        self._brake = Brake(self._flow)
        self._wanted = False
        self._asked: set[tuple[Kind, str]] = set()
        """Kinds of models, and for which call: requests of which nothing has come yet."""

    def want(self) -> None:
        """Somebody waits for it now."""
        self._wanted = True
        if self._goes_on.is_set():
            self._supply.want()
        for kind, call in self._asked:
            self._models.promote(kind, call)

    async def goes_on(self) -> None:
        """To be awaited before its first sound is let go: so much is written that the voice will hardly fall silent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_S):
                await self._goes_on.wait()
        self._supply.want()
        if self._to_begin_with > FIRST_WORDS:
            self._speak_what_is_written()

    async def run(self, brief: Brief) -> None:
        """Write until the LLM has finished and everything has its sound."""
        with self._flow.watched(self._brake.check):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._write(brief))
                group.create_task(self._voice(brief))

    async def _write(self, brief: Brief) -> None:
        """Raises ModelFailed when the stream ends without having finished."""
        self._stamp("llm_started")
        self._begun = begun = Begun()
        alone = self._yields(brief)
        if not alone:
            await self.judge(brief)
        whole = await self._write_unpaused(brief, begun, until_first=alone)
        if alone:
            await self.judge(brief)
        if not whole:
            await self._first_sound.wait()
            await self._write_unpaused(brief, begun, until_first=False)

    async def _write_unpaused(self, brief: Brief, begun: Begun, *, until_first: bool) -> bool:
        return await self._brake.drive(
            lambda: self._write_on(brief, begun, until_first=until_first), worth=lambda: not begun.ending
        )

    async def judge(self, brief: Brief) -> None:
        """Is the caller's sentence over? Asked after the first phrase where that is written alone: it is heard sooner
        so, and the LLM, which has read all but a word of the question, says so before the silence is long enough."""
        if brief.on_sentence_end is None:
            return
        limit_s = self._options.deadlines.end_of_turn_s
        try:
            with urgent(Priority.FIRST_PHRASE, limit_s, brief.session_id):
                async with asyncio.timeout(limit_s):
                    likely = await self._models.llm.sentence_end(
                        brief.messages, session_id=brief.session_id, tools=brief.tools
                    )
            brief.on_sentence_end(likely)
        except (AntiphonError, TimeoutError) as failed:
            log.warning("the LLM gave no opinion on the turn's end: %s", failed)

    def _yields(self, brief: Brief) -> bool:
        """Stop writing while the first phrase is made into sound? Calls of tools must be read in one go."""
        options = self._options
        wished = options.first_phrase_alone and options.stream_phrases
        return wished and self._to_begin_with <= FIRST_WORDS and brief.output == "audio" and not brief.tools

    async def _write_on(self, brief: Brief, begun: Begun, *, until_first: bool) -> bool:
        """Go on with the answer. False: only its first phrase is written, and there may be more."""
        whole = brief.output == "audio" and not self._options.stream_phrases
        if not whole:
            await self._deliver(begun)  # what was on its way when it was broken off
        limits = self._options.deadlines
        begun.told = begun.deltas
        with self._asking("llm", brief, limits.first_token_s, first=not begun.deltas or self._supply.runs_out):
            items = timely(self._generate(brief, begun), "the LLM", limits.first_token_s, limits.next_token_s)
            try:
                async for item in items:
                    self._has_begun("llm", brief)
                    self._stamp("llm_first_token")
                    if isinstance(item, Finished):
                        self._stamp("llm_finished")
                    phrases = begun.take(item, spoken=brief.output == "audio")
                    self._note_written(begun)
                    if self._runs_dry:
                        self._hurry(begun)
                    if begun.ending or not whole:
                        await self._deliver(begun)
                    if isinstance(item, Finished):
                        return True
                    if phrases and until_first and begun.deltas < brief.max_tokens:
                        return False
                raise ModelFailed("the LLM's answer broke off")
            finally:
                await items.aclose()

    def _note_written(self, begun: Begun) -> None:
        if begun.ending or begun.phrases.words_in_hand >= self._to_begin_with - FIRST_WORDS:
            self._goes_on.set()
            if self._wanted:
                self._supply.want()

    @property
    def _runs_dry(self) -> bool:
        """The voice is about to fall silent, and has nothing to go on with."""
        return not self._unvoiced and self._supply.runs_out

    def _hurry(self, begun: Begun) -> None:
        """What is written will do."""
        begun.hurry(LATE_WORDS if self._supply.is_late else HURRIED_WORDS)

    async def _deliver(self, begun: Begun) -> None:
        """May be broken off wherever it waits, but for the end."""
        while begun.parts:
            part = begun.parts[0]
            if isinstance(part, Finished):
                await self._to_voice.put(None)
            await self.parts.put(part)
            begun.parts.popleft()
            self._delivered(part)

    def _delivered(self, part: Part) -> None:
        if isinstance(part, SpokenPhrase):
            self._unvoiced += 1
            self._to_voice.put_nowait(part)  # there is room: what is not voiced yet is in `parts`, or taken last

    @contextmanager
    def _asking(self, kind: Kind, brief: Brief, wait_s: float, *, first: bool) -> Iterator[None]:
        """What is asked of a model in the block, and how urgent it is."""
        audible = Priority.FIRST_PHRASE if first else Priority.LATER_PHRASE
        self._asked.add((kind, brief.session_id))
        try:
            with urgent(audible if self._wanted else Priority.SPECULATION, wait_s, brief.session_id):
                yield
        finally:
            self._has_begun(kind, brief)

    def _has_begun(self, kind: Kind, brief: Brief) -> None:
        self._asked.discard((kind, brief.session_id))

    def _generate(self, brief: Brief, begun: Begun) -> AsyncGenerator[LlmItem, None]:
        """The rest of an answer that has begun."""
        return self._models.llm.generate(
            going_on(brief.messages, begun.text),
            session_id=brief.session_id,
            max_tokens=brief.max_tokens - begun.deltas,
            temperature=self._options.temperature,
            tools=brief.tools,
            tool_choice=brief.tool_choice,
        )

    async def _voice(self, brief: Brief) -> None:
        spoke = False
        while part := await self._next_phrase():
            if part.phrase.spoken:
                await self._speak(part, brief)
                spoke = True
            part.chunks.put_nowait(None)
            self._unvoiced -= 1
            self._first_sound.set()
        if spoke:
            self._stamp("tts_finished")

    async def _next_phrase(self) -> SpokenPhrase | None:
        """None after the last. When the voice is about to fall silent while the LLM thinks, it hurries once: then
        each word that comes does so."""
        lasts_s = self._supply.lasts_s
        try:
            async with asyncio.timeout(None if lasts_s == inf else lasts_s):
                return await self._to_voice.get()
        except TimeoutError:
            if self._runs_dry:
                self._speak_what_is_written()
        return await self._to_voice.get()

    def _speak_what_is_written(self) -> None:
        """As far as it is enough, and nothing is on its way."""
        begun = self._begun
        if begun is not None and not begun.parts and not self.parts.full():
            self._hurry(begun)
            for part in begun.take_all():
                self.parts.put_nowait(part)
                self._delivered(part)

    async def _speak(self, part: SpokenPhrase, brief: Brief) -> None:
        self._stamp("tts_started")
        await self._brake.drive(lambda: self._speak_on(part, brief))

    async def _speak_on(self, part: SpokenPhrase, brief: Brief) -> None:
        """What of the phrase is not made yet: it is spoken again, without the samples that are there."""
        limits, again, asked_s = self._options.deadlines, part.made_samples, self._clock()
        pressing = part.phrase.first or self._supply.runs_out  # then the caller is about to wait in silence as well
        with self._asking("tts", brief, limits.first_audio_s, first=pressing):
            sound = self._models.tts.speak(part.phrase.spoken, voice=brief.voice, speed=brief.speed)
            chunks = timely(sound, "the TTS", limits.first_audio_s, limits.next_audio_s)
            try:
                async for chunk in chunks:
                    if ("tts", brief.session_id) in self._asked:
                        self._supply.took(self._clock() - asked_s)
                        self._note_opening(part.phrase)
                    self._has_begun("tts", brief)
                    self._stamp("tts_first_audio")
                    new = replace(chunk, pcm=chunk.pcm[again:])
                    again = max(0, again - len(chunk.pcm))
                    if len(new.pcm):
                        part.chunks.put_nowait(new)
                        part.made_samples += len(new.pcm)
                        self._supply.add(len(new.pcm) / chunk.rate_hz)
                        self._first_sound.set()
                        self._brake.arm()
            finally:
                await chunks.aclose()

    def _note_opening(self, phrase: Phrase) -> None:
        """This one's first sound has come. What comes after a longer first phrase says nothing."""
        if self._first_sounds and not phrase.first:
            self._words.second_phrase_came(self._supply.left_s)
        self._first_sounds = phrase.first and len(phrase.spoken.split()) <= FIRST_WORDS
