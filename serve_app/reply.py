"""One answer from the caller's point of view: prepared unheard, released, played, and perhaps stopped."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from cluster.telemetry import Measure
from deployments.contracts import AudioChunk, Finished, Message, TextDelta, ToolCall, Usage
from deployments.errors import AntiphonError, ModelFailed
from serve_app.begun import Part, SpokenPhrase
from serve_app.brief import Brief
from serve_app.call_options import CallOptions
from serve_app.conversation.items import Answer, CallSettings, Ending, Script
from serve_app.conversation.phrases import Phrase
from serve_app.conversation.timeline import Moment, Timeline
from serve_app.draft import Draft
from serve_app.filler import Filler
from serve_app.models import Models
from serve_app.mouth import Mouth
from serve_app.opening import Words
from serve_app.stage import Stage
from serve_app.told_answer import ToldAnswer
from serve_app.written import Written

log = logging.getLogger("antiphon.call")

Prompt = Sequence[Message] | Script | None
"""What an answer is made from: messages for the LLM, the words themselves, or None: there is nothing to answer."""


def innermost(error: BaseException) -> BaseException:
    """The first real error within nested groups of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Reply:
    """Runs as one task of its call; `stop` and `release` are called from others and never wait.

    `asked`: the caller's side waits for it and is told at once that it has begun. `prompt` gives what it is made from
    when that is known; `judging` whom the LLM then tells whether the caller's last sentence is over, if anybody wants
    to know. `may_fill` is asked before the filler is said. `on_written` is called when all of it is on its way,
    `on_audible` when the first sound was given to the transport, `on_ended` when all of it was played, or there was
    none.
    """

    def __init__(
        self,
        stage: Stage,
        answer: Answer,
        settings: CallSettings,
        timeline: Timeline,
        *,
        asked: bool,
        prompt: Callable[[], Awaitable[Prompt]],
        judging: Callable[[], Callable[[float | None], None] | None],
        on_written: Callable[[], None],
        may_fill: Callable[[], bool],
        on_audible: Callable[["Reply"], None],
        on_ended: Callable[["Reply"], None],
    ) -> None:
        self.answer = answer
        self.timeline = timeline
        self.task: asyncio.Task[None] | None = None
        self.ending: Ending | None = None
        """The call is over after this answer."""
        self._stage = stage
        self._settings = settings
        self._asked = asked
        self._prompt = prompt
        self._judging = judging
        self._on_written = on_written
        self._on_audible = on_audible
        self._on_ended = on_ended
        self.in_advance = False
        """Its writing began before anybody knew that it would be wanted."""
        self._released = asyncio.Event()
        self._may_write = asyncio.Event()
        self._first_given = asyncio.Event()
        self._draft: Draft | None = None
        self._told = ToldAnswer(stage, answer)
        self._mouth = Mouth(stage, settings.speed, self._heard_first, lambda: on_audible(self))
        self._filler = Filler(stage, self._told, self._mouth, self._kept, may_fill)

    @property
    def finished(self) -> bool:
        """Everything was said about it, or it was dropped unheard."""
        return self._told.finished

    def release(self) -> None:
        """Let it be heard."""
        self._released.set()
        self._may_write.set()
        if self._draft is not None:
            self._draft.want()
        if self._asked:
            self._told.begin()

    def holds(self, item_id: str) -> bool:
        """Is this the answer's message?"""
        return self._told.holds(item_id)

    def stop(self, reason: str) -> None:
        """Fall silent for good; the history keeps what was heard. The task ends by itself soon after."""
        self._mouth.cut()
        if self.timeline.outcome in ("answered", "unanswered"):
            self.timeline.outcome = "interrupted" if reason == "turn_detected" else "cancelled"
        if self._told.begun and not self.finished:
            self._told.finish("cancelled", reason)
        self._told.finished = True
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch_for_the_first_of_it())
                await self._make_and_play()
                watching.cancel()
        except* AntiphonError as failures:
            await self._apologise(innermost(failures))
        if await self._mouth.played_out():
            self._stamp("agent_stopped")
        self._on_ended(self)

    async def _watch_for_the_first_of_it(self) -> None:
        """Raises ModelFailed where nothing of an answer that is wanted comes in time."""
        await self._released.wait()
        limit_s = self._stage.options.deadlines.answer_s
        try:
            async with asyncio.timeout(limit_s):
                await self._first_given.wait()
        except TimeoutError as late:
            raise ModelFailed(f"the answer did not begin within {limit_s:g} s") from late

    async def _make_and_play(self) -> None:
        prompt = await self._prompt()
        if isinstance(prompt, Script):
            await self._recite(prompt)
        elif prompt is None:
            await self._say_nothing()
        else:
            stage = self._stage
            draft = self._new_draft(stage.models, stage.options, self._stamp, stage.common.opening.words)
            await self._hold_back(draft, prompt)
            await self._perform(draft, prompt, fill=True)

    async def _say_nothing(self) -> None:
        await self._released.wait()
        self._told.finished = True

    async def _recite(self, script: Script) -> None:
        """What is said is known: its sound may be there as well."""
        self.ending = script.ending
        stage = self._stage
        if not script.text:
            await self._say_nothing()
        elif self.answer.output == "audio" and (sound := self._kept(script.text)):
            await self._released.wait()
            self._told.begin()
            await self._speak(_kept_phrase(script.text, sound))
            self._complete(Finished("stop", Usage()))
        else:
            if stage.held_back:
                await self._released.wait()
            options = stage.options.model_copy(update={"first_phrase_alone": False})
            models = replace(stage.models, llm=Written(script.text))
            draft = self._new_draft(models, options, self._stamp_voice, Words())  # nothing to learn from
            await self._perform(draft, (), fill=False)

    def _new_draft(self, models: Models, options: CallOptions, stamp: Callable[[Moment], None], words: Words) -> Draft:
        self._draft = Draft(models, options, stamp, self._stage.outbox.flow, words)
        if self._released.is_set():
            self._draft.want()
        return self._draft

    async def _perform(self, draft: Draft, messages: Sequence[Message], *, fill: bool) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(draft.run(self._brief(messages)))
            await self._released.wait()
            self._told.begin()
            filling = group.create_task(self._filler.run(self.timeline)) if fill else None
            while not isinstance(part := await draft.parts.get(), Finished):
                await self._give(part, draft)
            if filling is not None and not self._filler.begun:
                filling.cancel()
            elif filling is not None:
                await filling
            self._complete(part)

    async def _hold_back(self, draft: Draft, messages: Sequence[Message]) -> None:
        """Wait while models are busy with turns of other calls, unless this answer is wanted as well."""
        common, call = self._stage.common, self._stage.session_id
        if self._stage.held_back and not self._released.is_set():
            common.telemetry.report(Measure("antiphon_answers_held_back"))
            with common.back_off.told_when_calm(call, self._may_write.set):
                await self._judge_words_until(self._may_write, draft, messages)
        if not self._released.is_set():
            self.in_advance = True
            common.tally.note("answer", "started")

    async def _judge_words_until(self, enough: asyncio.Event, draft: Draft, messages: Sequence[Message]) -> None:
        """The LLM says with an answer whether the caller's sentence is over. Here it says so without one."""
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(draft.judge(self._brief(messages)))
            await enough.wait()
            asking.cancel()

    def _kept(self, text: str) -> tuple[AudioChunk, ...]:
        return self._stage.stock.sound(text, self.answer.voice, self._settings.speed)

    # --- the answer

    def _brief(self, messages: Sequence[Message]) -> Brief:
        options = self.answer.options
        asked = self.answer.max_output_tokens or self._stage.options.max_answer_tokens
        return Brief(
            messages=messages,
            session_id=self._stage.session_id,
            output=self.answer.output,
            voice=self.answer.voice,
            speed=self._settings.speed,
            max_tokens=asked,
            tools=self._settings.tools if options.tools is None else options.tools,
            tool_choice=options.tool_choice or self._settings.tool_choice,
            on_sentence_end=self._judging(),
        )

    async def _give(self, part: Part, draft: Draft) -> None:
        if isinstance(part, SpokenPhrase):
            await self._speak(part, draft)
            return
        self._first_given.set()
        if isinstance(part, TextDelta):
            self._told.say(part.text, "text")
        elif isinstance(part, ToolCall):
            self._told.call_tool(part)

    async def _speak(self, part: SpokenPhrase, draft: Draft | None = None) -> None:
        chunk = await part.chunks.get()  # its words are told with its sound
        self._first_given.set()
        if draft is not None and part.phrase.first:
            await draft.goes_on()
        await self._mouth.speak(self._told.say(part.phrase.text, "audio"), part, chunk)

    def _heard_first(self) -> None:
        self._stamp("first_frame_sent")
        self._on_audible(self)

    def _complete(self, finished: Finished) -> None:
        self.answer.usage = finished.usage
        self.timeline.outcome = "answered"
        self._on_written()
        if finished.reason == "length":
            self._told.finish("incomplete", "max_output_tokens")
        else:
            self._told.finish("completed", None)

    async def _apologise(self, failure: BaseException) -> None:
        """No model could answer in time: the caller hears a sentence that was made in advance."""
        log.error("turn %d failed: %s", self.timeline.turn, failure)
        await self._released.wait()
        self._told.begin()
        self.timeline.outcome = "failed"
        sorry = self._stage.options.sorry
        if self.answer.output == "audio" and (sound := self._kept(sorry) or self._stage.stock.sound(sorry)):
            await self._speak(_kept_phrase(sorry, sound))
        self._told.finish("failed", str(failure))

    def _stamp(self, moment: Moment) -> None:
        self.timeline.stamp(moment, speculative=not self._released.is_set())

    def _stamp_voice(self, moment: Moment) -> None:
        """Where no LLM is asked."""
        if not moment.startswith("llm"):
            self._stamp(moment)


def _kept_phrase(text: str, sound: Sequence[AudioChunk]) -> SpokenPhrase:
    """A whole sentence with its sound."""
    part = SpokenPhrase(Phrase(text, text, first=True))
    for chunk in (*sound, None):
        part.chunks.put_nowait(chunk)
    return part
