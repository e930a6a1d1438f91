"""One answer from the caller's point of view: prepared unheard, released, played, and perhaps stopped."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cluster.telemetry import Measure
from deployments.audio import Resampler
from deployments.contracts import AudioChunk, Finished, Message, Pcm, TextDelta, ToolCall
from deployments.errors import AntiphonError
from serve_app.back_off import BackOff
from serve_app.conversation.history import History, Spoken
from serve_app.conversation.items import Answer, CallSettings, FunctionCallItem, Item, MessageItem, Modality, Status
from serve_app.conversation.messages import (
    AnswerFinished,
    AnswerStarted,
    AnswerText,
    ItemAdded,
    ItemDone,
    ToolArguments,
)
from serve_app.conversation.phrases import Phrase
from serve_app.conversation.timeline import Moment, Timeline
from serve_app.draft import Brief, Draft, Part, SpokenPhrase
from serve_app.models import Models
from serve_app.options import CallOptions
from serve_app.outbox import Outbox
from serve_app.tally import Tally
from serve_app.telemetry import Telemetry
from serve_app.transports.base import Transport

log = logging.getLogger("antiphon.call")

MS_PER_CHARACTER = 60
"""Speech makes about 16 letters a second: a phrase's length while its sound is still being made."""


class Common:
    """What all calls of one process have in common besides models."""

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self.telemetry = telemetry or Telemetry()
        self.tally = Tally(self.telemetry)
        self.back_off = BackOff()


@dataclass(frozen=True, slots=True)
class Stage:
    """What every answer of a call uses. `sorry` is the sound of `options.sorry`, made in advance."""

    models: Models
    options: CallOptions
    transport: Transport
    outbox: Outbox
    history: History
    session_id: str
    sorry: Sequence[AudioChunk]
    common: Common = field(default_factory=Common)

    @property
    def held_back(self) -> bool:
        """Is nothing to be done in advance now, because models are busy with turns of other calls?"""
        return self.options.back_off and self.common.back_off.busy_for(self.session_id)


def innermost(error: BaseException) -> BaseException:
    """The first real error within nested groups of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Reply:
    """Runs as one task of its call; `stop` and `release` are called from others and never wait.

    `asked`: the caller's side waits for it and is told at once that it has begun. `prompt` gives the messages when
    they are known, or None when there is nothing to answer; `judging` whom the LLM then tells whether the caller's last
    sentence is over, if anybody wants to know. `on_written` is called when all of it is on its way,
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
        prompt: Callable[[], Awaitable[Sequence[Message] | None]],
        judging: Callable[[], Callable[[float | None], None] | None],
        on_written: Callable[[], None],
        on_audible: Callable[["Reply"], None],
        on_ended: Callable[["Reply"], None],
    ) -> None:
        self.answer = answer
        self.timeline = timeline
        self.finished = False
        """Everything was said about it: `AnswerFinished` was sent, or it was dropped unheard."""
        self.task: asyncio.Task[None] | None = None
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
        self._draft = Draft(stage.models, stage.options, self._stamp)
        self._item: MessageItem | None = None
        self._given_samples = 0
        self._sounds = False
        self._begun = False

    def release(self) -> None:
        """Let it be heard."""
        self._released.set()
        self._may_write.set()
        if self._asked:
            self._begin()

    def holds(self, item_id: str) -> bool:
        """Is this the answer's message?"""
        return self._item is not None and self._item.id == item_id

    def stop(self, reason: str) -> None:
        """Fall silent for good; the history keeps what was heard. The task ends by itself soon after."""
        if self._item is not None and self._item.modality == "audio":
            self._cut(self._item)
        if self.timeline.outcome in ("answered", "unanswered"):
            self.timeline.outcome = "interrupted" if reason == "turn_detected" else "cancelled"
        if self._begun and not self.finished:
            self._finish("cancelled", reason)
        self.finished = True
        if self.task is not None:
            self.task.cancel()

    async def run(self) -> None:
        try:
            await self._make_and_play()
        except* AntiphonError as failures:
            await self._apologise(innermost(failures))
        await self._played_out()
        self._on_ended(self)

    async def _make_and_play(self) -> None:
        messages = await self._prompt()
        if messages is None:
            await self._released.wait()
            self.finished = True
            return
        await self._hold_back(messages)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._draft.run(self._brief(messages)))
            await self._released.wait()
            self._begin()
            while not isinstance(part := await self._draft.parts.get(), Finished):
                await self._give(part)
            self._complete(part)

    async def _hold_back(self, messages: Sequence[Message]) -> None:
        """Wait while models are busy with turns of other calls, unless this answer is wanted as well."""
        common, call = self._stage.common, self._stage.session_id
        if self._stage.held_back and not self._released.is_set():
            common.telemetry.report(Measure("antiphon_answers_held_back"))
            with common.back_off.told_when_calm(call, self._may_write.set):
                await self._judge_words_until(self._may_write, messages)
        if not self._released.is_set():
            self.in_advance = True
            common.tally.note("answer", "started")

    async def _judge_words_until(self, enough: asyncio.Event, messages: Sequence[Message]) -> None:
        """The LLM says with an answer whether the caller's sentence is over. Here it says so without one."""
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(self._judge_words(messages))
            await enough.wait()
            asking.cancel()

    async def _judge_words(self, messages: Sequence[Message]) -> None:
        told, stage = self._judging(), self._stage
        if told is None:
            return
        try:
            async with asyncio.timeout(stage.options.deadlines.end_of_turn_s):
                tools = self._settings.tools
                told(await stage.models.llm.sentence_end(messages, session_id=stage.session_id, tools=tools))
        except (AntiphonError, TimeoutError) as failed:
            log.warning("the LLM gave no opinion on the turn's end: %s", failed)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._stage.outbox.tell(AnswerStarted(self.answer))

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

    async def _give(self, part: Part) -> None:
        if isinstance(part, SpokenPhrase):
            await self._speak(part)
        elif isinstance(part, TextDelta):
            self._say(part.text, "text")
        elif isinstance(part, ToolCall):
            self._call_tool(part)

    def _say(self, text: str, modality: Modality) -> MessageItem:
        """Some more text of the answer's message, which begins with the first of it."""
        if self._item is None:
            self._item = MessageItem("assistant", "", modality, status="in_progress")
            self._add(self._item)
        self._item.text += text
        self._stage.outbox.tell(AnswerText(self.answer, self._item, text))
        return self._item

    def _add(self, item: Item) -> None:
        self.answer.items.append(item)
        previous = self._stage.history.add(item) if self.answer.options.in_conversation else None
        self._stage.outbox.tell(ItemAdded(item, previous, self.answer))

    def _done(self, item: Item, status: Status) -> None:
        item.status = status
        self._stage.outbox.tell(ItemDone(item, self._stage.history.previous_id(item), self.answer))

    async def _speak(self, part: SpokenPhrase) -> None:
        item = self._say(part.phrase.text, "audio")
        spoken = Spoken(part.phrase.text, len(part.phrase.spoken) * MS_PER_CHARACTER / self._settings.speed)
        self._stage.history.speak(item, spoken)
        given_before, resampler = self._given_samples, None
        while chunk := await part.chunks.get():
            resampler = resampler or Resampler(chunk.rate_hz, self._stage.transport.rate_hz)
            await self._play(resampler.push(chunk.pcm), item)
        if resampler is not None:
            await self._play(resampler.push(np.zeros(0, np.int16), last=True), item)
        spoken.duration_ms = self._milliseconds(self._given_samples - given_before)

    async def _play(self, pcm: Pcm, item: MessageItem) -> None:
        if not len(pcm):
            return
        first, self._sounds = not self._sounds, True
        await self._stage.outbox.play(pcm, item, self._heard_first if first else None)
        self._given_samples += len(pcm)

    def _heard_first(self) -> None:
        self._stamp("first_frame_sent")
        self._on_audible(self)

    def _call_tool(self, call: ToolCall) -> None:
        item = FunctionCallItem(call, status="in_progress")
        self._add(item)
        self._stage.outbox.tell(ToolArguments(self.answer, item))
        self._done(item, "completed")

    def _complete(self, finished: Finished) -> None:
        self.answer.usage = finished.usage
        self.timeline.outcome = "answered"
        self._on_written()
        if finished.reason == "length":
            self._finish("incomplete", "max_output_tokens")
        else:
            self._finish("completed", None)

    def _finish(self, status: str, reason: str | None) -> None:
        self.answer.status, self.answer.reason = status, reason  # type: ignore[assignment]
        if self._item is not None:
            self._done(self._item, "completed" if status == "completed" else "incomplete")
        self._stage.outbox.tell(AnswerFinished(self.answer))
        self.finished = True

    def _cut(self, item: MessageItem) -> None:
        waiting = self._stage.outbox.drop_sound()
        unplayed = self._stage.transport.stop_playing()
        self._stage.outbox.played.take_back(unplayed)
        heard_ms = self._milliseconds(max(0, self._given_samples - waiting - unplayed))
        self._stage.history.cut(item, round(heard_ms))

    async def _apologise(self, failure: BaseException) -> None:
        """No model could answer in time: the caller hears a sentence that was made in advance."""
        log.error("turn %d failed: %s", self.timeline.turn, failure)
        await self._released.wait()
        self._begin()
        self.timeline.outcome = "failed"
        if self.answer.output == "audio" and self._stage.sorry:
            part = SpokenPhrase(Phrase(self._stage.options.sorry, self._stage.options.sorry, first=False))
            for chunk in (*self._stage.sorry, None):
                part.chunks.put_nowait(chunk)
            await self._speak(part)
        self._finish("failed", str(failure))

    async def _played_out(self) -> None:
        """Wait until the caller's side has played what it was given."""
        transport, outbox = self._stage.transport, self._stage.outbox
        await outbox.sent()
        while left := transport.unplayed():
            await asyncio.sleep(left / transport.rate_hz)
            await outbox.sent()  # a pause meanwhile has taken some of it back
        if self._given_samples:
            self._stamp("agent_stopped")

    def _stamp(self, moment: Moment) -> None:
        self.timeline.stamp(moment, speculative=not self._released.is_set())

    def _milliseconds(self, count: int) -> float:
        return count * 1000 / self._stage.transport.rate_hz
