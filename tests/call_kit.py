"""For the tests of calls: a whole call in this process, synthetic engines, and a client that plays by a clock."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deployments.asr.options import AsrOptions
from deployments.asr.synthetic import SyntheticAsr
from deployments.contracts import AudioChunk, Llm, LlmItem, Message, Pcm, Tool, Tts
from deployments.llm.options import LlmOptions
from deployments.llm.synthetic import SyntheticLlm
from deployments.options import Timing
from deployments.tones import decode, encode
from deployments.tts.options import TtsOptions
from deployments.tts.synthetic import SyntheticTts
from deployments.turn.options import TurnOptions
from deployments.turn.synthetic import SyntheticTurn
from deployments.urgency import Urgency, current_urgency
from deployments.vad.energy import EnergyVad
from deployments.vad.options import VadOptions
from serve_app.call import Call
from serve_app.call_options import CallOptions
from serve_app.conversation import messages as m
from serve_app.conversation.history import History
from serve_app.conversation.items import CallSettings, MessageItem
from serve_app.conversation.turns import State
from serve_app.conversation.vad_batch import BatchedVoiceActivity
from serve_app.ear import Ear
from serve_app.models import Models, Promote
from serve_app.outbox import Outbox
from serve_app.paced_outbox import PacedOutbox
from serve_app.records import recorded
from serve_app.sessions import KeptSession
from serve_app.stage import Common, Stage
from serve_app.stock import Stock

FAST = Timing(first_item_ms=0, items_per_s=10_000)
CHUNK = 320
"""20 ms at 16 kHz."""
PLAY_RATE_HZ = 24_000
PATIENCE_S = 20.0
"""A test that waits longer for an event has failed."""

T = TypeVar("T")


def silence(ms: int) -> Pcm:
    return np.zeros(16 * ms, np.int16)


def said(text: str, pause_ms: int = 800) -> Pcm:
    """Somebody says this in tones, and is silent afterwards: int16[n] at 16 kHz."""
    return np.concatenate([silence(100), encode(text, 16_000), silence(pause_ms)])


class TestLine:
    """A transport whose other end is the test: it records everything, and plays `speed` times as fast as a person."""

    __test__ = False
    rate_hz = PLAY_RATE_HZ

    def __init__(self, speed: float) -> None:
        self.events: list[m.Event] = []
        self.played: dict[str, list[Pcm]] = {}
        self.arrived = asyncio.Condition()
        self.closed = ""
        """The reason that was given first."""
        self._speed = speed
        self._ends_s = 0.0
        self._attended = asyncio.Event()
        self._inputs: asyncio.Queue[Pcm | m.Order | None] = asyncio.Queue()

    # --- the call's side

    async def inputs(self) -> AsyncIterator[Pcm | m.Order]:
        while (given := await self._inputs.get()) is not None:
            yield given
            self._attended.set()

    async def attended(self) -> None:
        await self._attended.wait()

    async def play(self, pcm: Pcm, item: MessageItem) -> None:
        self._ends_s = max(self._ends_s, time.monotonic()) + len(pcm) / PLAY_RATE_HZ / self._speed
        self.played.setdefault(item.id, []).append(pcm)
        await self._note()

    def stop_playing(self) -> int:
        unheard = max(0, round((self._ends_s - time.monotonic()) * PLAY_RATE_HZ * self._speed))
        self._ends_s = 0.0
        return unheard

    def unplayed(self) -> int:
        """Fewer than there are, when it plays fast: the call waits for as long as they last at the usual speed."""
        return max(0, round((self._ends_s - time.monotonic()) * PLAY_RATE_HZ))

    async def send_event(self, event: m.Event) -> None:
        self.events.append(event)
        await self._note()

    async def close(self, reason: str) -> None:
        self.closed = self.closed or reason
        self._inputs.put_nowait(None)

    async def _note(self) -> None:
        async with self.arrived:
            self.arrived.notify_all()

    # --- the caller's side

    def give(self, *given: Pcm | m.Order) -> None:
        """Sound goes in chunks of 20 ms."""
        for one in given:
            if isinstance(one, np.ndarray):
                for first in range(0, len(one), CHUNK):
                    self._inputs.put_nowait(one[first : first + CHUNK])
            else:
                self._inputs.put_nowait(one)

    def hang_up(self) -> None:
        self._inputs.put_nowait(None)

    def all(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, kind: type[T], count: int = 1) -> T:
        """The `count`-th event of this kind, as soon as there is one."""
        await self.until(lambda: len(self.all(kind)) >= count, f"{count} {kind.__name__}")
        return self.all(kind)[count - 1]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S), self.arrived:
                await self.arrived.wait_for(holds)
        except TimeoutError:
            raise AssertionError(f"there was never {what}; there were {self.events}") from None

    async def state(self, name: str, count: int = 1) -> None:
        states = [m.StateChanged(name)] * count
        await self.until(lambda: [s for s in self.all(m.StateChanged) if s.state == name][:count] == states, name)

    def words(self, item: MessageItem) -> str:
        """What the client was given to play of this answer."""
        return decode(np.concatenate(self.played.get(item.id, [np.zeros(0, np.int16)])), PLAY_RATE_HZ)


class PacedLine(TestLine):
    """The same with a clock of its own: it asks for each frame, as a room does. `unsent` of the last samples that it
    asked for wait for their time, until they are taken back."""

    def __init__(self, speed: float = 1.0) -> None:
        super().__init__(speed)
        self.frames: list[Pcm] = []
        self.next_frame: Callable[[], Pcm | None] = lambda: None
        self.unsent = 0
        self.hurried = 0
        self.silent_ms = 0.0

    def speak_from(self, next_frame: Callable[[], Pcm | None]) -> None:
        self.next_frame = next_frame

    def hurry(self) -> None:
        self.hurried += 1

    def silence_ms(self) -> float:
        return self.silent_ms

    def take_back(self) -> int:
        unsent, self.unsent = self.unsent, 0
        return unsent

    def strike(self) -> None:
        if (frame := self.next_frame()) is not None:
            self.frames.append(frame)

    async def strike_for_ever(self) -> None:
        while True:
            await asyncio.sleep(0.02 / self._speed)
            self.strike()


@dataclass
class Recording:
    """An LLM and a TTS that note what they are asked, and whether each stream of theirs was closed."""

    llm: Llm
    tts: Tts
    prompts: list[Sequence[Message]] = field(default_factory=list)
    continued: list[Sequence[Message]] = field(default_factory=list)
    """Of answers that were broken off after their first phrase, and gone on with."""
    judged: list[str] = field(default_factory=list)
    open_streams: int = 0
    urgencies: list[tuple[str, Urgency]] = field(default_factory=list)
    """How urgent each request was said to be, and the method that it was for."""

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
        self.urgencies.append(("prefill" if max_tokens == 0 else "generate", current_urgency()))
        (self.prompts if messages[-1].role != "assistant" else self.continued).append(messages)
        self.open_streams += 1
        try:
            async for item in self.llm.generate(
                messages,
                session_id=session_id,
                max_tokens=max_tokens,
                temperature=temperature,
                tools=tools,
                tool_choice=tool_choice,
            ):
                yield item
        finally:
            self.open_streams -= 1

    async def sentence_end(
        self, messages: Sequence[Message], *, session_id: str, tools: Sequence[Tool] = ()
    ) -> float | None:
        self.urgencies.append(("sentence_end", current_urgency()))
        self.judged.append(messages[-1].text)
        return await self.llm.sentence_end(messages, session_id=session_id, tools=tools)

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        self.urgencies.append(("speak", current_urgency()))
        self.open_streams += 1
        try:
            async for chunk in self.tts.speak(text, voice=voice, speed=speed):
                yield chunk
        finally:
            self.open_streams -= 1


def synthetic_llm(timing: Timing = FAST) -> SyntheticLlm:
    return SyntheticLlm(LlmOptions(engine="synthetic", model="synthetic", timing=timing))


def synthetic_tts(timing: Timing = FAST) -> SyntheticTts:
    return SyntheticTts(TtsOptions(engine="synthetic", model="synthetic", timing=timing))


def synthetic_asr(timing: Timing = FAST) -> SyntheticAsr:
    return SyntheticAsr(AsrOptions(engine="synthetic", model="synthetic", timing=timing))


def synthetic_turn() -> SyntheticTurn:
    return SyntheticTurn(TurnOptions(engine="synthetic", model="synthetic", timing=FAST))


@dataclass
class Rig:
    """A running call, its line and its models."""

    call: Call
    line: TestLine
    models: Recording
    task: asyncio.Task[None]

    async def end(self) -> None:
        """The caller leaves; raises what broke the call, and checks that nothing of it is left."""
        self.line.hang_up()
        async with asyncio.timeout(PATIENCE_S):
            await self.task
        assert not self.call._tasks
        assert self.models.open_streams == 0

    def texts(self) -> list[tuple[str, str]]:
        """Who said what, as the history has it."""
        return [(i.role, i.text) for i in self.call.stage.history.items if isinstance(i, MessageItem)]


@asynccontextmanager
async def calling(
    settings: CallSettings | None = None,
    *,
    options: CallOptions | None = None,
    llm: Llm | None = None,
    asr: Any = None,
    turn_detector: Any = None,
    tts: Tts | None = None,
    promote: Promote = lambda kind, call: None,
    speed: float = 20.0,
    paced: bool = False,
    name: str = "call_rig",
    record_dir: Path | None = None,
    common: Common | None = None,
    session: KeptSession | None = None,
) -> AsyncIterator[Rig]:
    """A call that begins now and ends with the block. `paced`: the line has the clock."""
    session = session or KeptSession(name)
    settings, options = settings or CallSettings("Be brief."), options or CallOptions(prefill=False)
    if record_dir is not None:
        options = options.model_copy(update={"record_dir": str(record_dir)})
    models = Recording(llm or synthetic_llm(), tts or synthetic_tts())
    line = PacedLine(speed) if paced else TestLine(speed)
    stock = Stock(models, options)
    await stock.make()
    stage = Stage(
        models=Models(asr or synthetic_asr(), models, models, turn_detector or synthetic_turn(), promote),
        options=options,
        transport=line,
        outbox=PacedOutbox(line) if isinstance(line, PacedLine) else Outbox(line),
        history=History(options.max_history_tokens, session.past.items if session.past else ()),
        session_id=name,
        stock=stock,
        common=common or Common(),
        session=session,
    )
    vad = BatchedVoiceActivity(EnergyVad(VadOptions(engine="energy", model=None)))
    ear = Ear(vad, options.listening, settings.turn_detection)
    async with recorded(name, ear, options) as recorder:
        call = Call(stage, ear, settings, recorder)
        rig = Rig(call, line, models, asyncio.create_task(call.run()))
        tasks = [rig.task]
        if isinstance(line, PacedLine):
            tasks.append(asyncio.create_task(line.strike_for_ever()))
        try:
            yield rig
            await rig.end()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def roles(messages: Sequence[Message]) -> Iterator[tuple[str, str]]:
    return ((message.role, message.text) for message in messages)


BRIEF = CallSettings("Be brief.")


async def turn(rig: Rig, text: str, number: int = 1) -> MessageItem:
    """The caller says this; the answer's message, when it has been played."""
    rig.line.give(said(text))
    await rig.line.wait(m.TurnTimed, number)
    return answered(rig, number)


def answered(rig: Rig, number: int) -> MessageItem:
    item = rig.line.all(m.AnswerFinished)[number - 1].answer.items[0]
    assert isinstance(item, MessageItem)
    return item


async def speaking(rig: Rig, number: int = 1) -> None:
    """The agent can be heard."""
    await rig.line.until(lambda: rig.call.state is State.SPEAKING and len(rig.line.played) >= number, "an answer")


async def prepared(rig: Rig) -> None:
    """The answer's first sound is there, unheard."""
    async with asyncio.timeout(PATIENCE_S):
        while rig.call.turn is None or "tts_first_audio" not in rig.call.turn.timeline.stamps:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def statuses(rig: Rig) -> list[tuple[str, str | None]]:
    return [(e.answer.status, e.answer.reason) for e in rig.line.all(m.AnswerFinished)]
