"""One call: the caller's voice and orders drive the turn machine, and the machine's commands drive the models.

Facts (voice, judgements, orders, the answer's progress) become events of `conversation.turns`; the commands that
follow are carried out at once and never wait, so that no two facts are ever half dealt with. What takes time runs
in tasks of the call's one TaskGroup and comes back as another fact.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import numpy as np

from deployments.errors import CallerGone
from serve_app.caller_turn import CallerTurn
from serve_app.conversation.items import (
    Answer,
    AnswerOptions,
    CallSettings,
    Ending,
    FunctionOutputItem,
    Item,
    MessageItem,
)
from serve_app.conversation.listening import milliseconds
from serve_app.conversation.messages import (
    AudioCommitted,
    CallEnded,
    ItemAdded,
    ItemDone,
    SpeechStarted,
    SpeechStopped,
    StateChanged,
    TurnTimed,
)
from serve_app.conversation.record import Recorder
from serve_app.conversation.timeline import Timeline
from serve_app.conversation.turns import Command, Event, State, step
from serve_app.ear import Ear
from serve_app.listener import Listener
from serve_app.manners import Manners
from serve_app.orders import obey
from serve_app.reply import Prompt, Reply, innermost
from serve_app.stage import Stage
from serve_app.words import (
    adopt_words,
    ask_for_words,
    prompt_for,
    read_history,
    remembered_turn,
    spoken_item,
    tell_words,
)

log = logging.getLogger("antiphon.call")

LEAVE_S = 0.5
"""What the caller's side was told last is on its way for so long: who leaves a room at once takes it along."""

T = TypeVar("T")

TURN_TOKENS = 100
"""Half a minute of speech: what the caller says next will hardly be longer."""


class Call:
    """From join to leave. `run` returns when the caller has left and every stream of the call is closed.

    `reply` is there in exactly the states THINKING, SPEAKING and HELD; `turn` in HEARING, ENDING and HELD, and while
    the caller speaks over an answer that is not to be interrupted.
    """

    def __init__(self, stage: Stage, ear: Ear, settings: CallSettings, recorder: Recorder | None = None) -> None:
        self.stage = stage
        self.recorder = recorder or Recorder()
        self.recorder.listens(ear.hearing, settings.turn_detection)
        self.settings = settings
        self.ear = ear
        self.listener = Listener(self, ear)
        self.manners = Manners(self)
        self.ended: Ending | None = None
        """Why the agent has ended the call; None: it has not."""
        self.state = State.IDLE
        self.turn: CallerTurn | None = None
        """What the caller says now, until it is committed."""
        self.reply: Reply | None = None
        """What the agent says now, until it was played."""
        self.uncommitted_sample = 0
        self._unanswered: list[CallerTurn] = []
        """Committed since the last answer was begun."""
        self._requested: AnswerOptions | None = None
        self._turns = 0
        self._reading: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._commands: dict[Command, Callable[[Event], None]] = {
            Command.BEGIN_TURN: lambda _: self.announce_turn(),
            Command.PREPARE_ANSWER: self._prepare_answer,
            Command.DROP_PREPARED: self._drop_prepared,
            Command.COMMIT_TURN: self._commit_turn,
            Command.FORGET_TURN: self._forget_turn,
            Command.RELEASE_ANSWER: self._release_answer,
            Command.START_ANSWER: self._start_answer,
            Command.PAUSE_PLAYOUT: self._pause_playout,
            Command.RESUME_PLAYOUT: lambda _: self.stage.outbox.resume(),
            Command.STOP_ANSWER: self._stop_answer,
            Command.CLOSE_STREAMS: self._close_streams,
        }

    async def run(self) -> None:
        """Raises whatever broke the call, if it was not the caller who left."""
        try:
            with self.stage.common.opening.call():
                await self._run()
        except* CallerGone as gone:
            log.info("the caller is gone: %s", innermost(gone))

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            self.spawn(self.stage.outbox.run())
            self.prefill()
            self.manners.begin()
            try:
                await self._listen()
            finally:
                self.step(Event.CALLER_LEFT)

    async def _listen(self) -> None:
        try:
            async with asyncio.timeout(None) as self._listening:
                async for given in self.stage.transport.inputs():
                    if isinstance(given, np.ndarray):
                        await self.listener.hear(given)
                    else:
                        obey(self, given)
        except TimeoutError:
            if self.ended is None:
                raise

    async def end(self, reason: Ending) -> None:
        """Tell the caller's side, and listen no more."""
        self.stage.outbox.tell(CallEnded(reason))
        await self.stage.outbox.sent()
        await asyncio.sleep(LEAVE_S)
        self.ended = reason
        self._listening.reschedule(asyncio.get_running_loop().time())

    def keep(self) -> None:
        """A boundary of a turn: how the conversation stands is kept, for whoever goes on with it elsewhere."""
        options = None if self.reply is None or self.reply.finished else self.reply.answer.options
        answering = options is not None and options.in_conversation and options.input is None and not options.script
        self.stage.session.keep(self.stage.history.items, self.settings, unanswered=answering)

    def take_up(self) -> None:
        """The last words were being answered when the conversation broke off: answer them."""
        last = self.stage.history.items[-1]
        if isinstance(last, MessageItem) and last.role == "user" and last.modality == "audio":
            self._unanswered.append(remembered_turn(self, last))
            self.request_answer(None)
        elif isinstance(last, FunctionOutputItem) or (isinstance(last, MessageItem) and last.role == "user"):
            self.request_answer(AnswerOptions())

    @property
    def answered(self) -> bool:
        """Has the agent begun to say anything?"""
        return self._turns > 0

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that lives no longer than the call."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def prefill(self) -> None:
        """What every prompt of the call begins with is known, or has changed: the LLM reads it in advance."""
        if self._reading is not None:
            self._reading.cancel()
        if self.stage.options.prefill:
            self._reading = self.spawn(read_history(self))

    # --- the machine

    def step(self, event: Event) -> None:
        """Tell the machine, and carry out what it commands."""
        before = self.state
        self.state, commands = step(before, event)
        self.recorder.event(event, self.state, commands)
        for command in commands:
            self._commands[command](event)
        if self.state not in (before, State.CLOSED) and not self._speaks_on:
            self.stage.outbox.tell(StateChanged(self.state.name.lower()))
        self.settle()

    @property
    def _speaks_on(self) -> bool:
        """Is a sound of the caller's judged of which they are to notice nothing until it has stopped the agent?"""
        return self.state is State.HELD and not self.stage.options.turn_taking.early_pause

    def settle(self) -> None:
        """What the caller did while something else was decided, or over an answer, counts once it is decided."""
        if self.turn is None:
            return
        paused = self.ear.hearing.paused
        if self.state is State.IDLE:
            self.step(Event.VOICE_STARTED)
        elif self.state is State.HEARING and paused:
            self.step(Event.VOICE_PAUSED)
        elif self.state in (State.THINKING, State.SPEAKING) and paused and self.turn.judge is None:
            self.turn.judge = self.listener.new_judge()

    # --- the caller's turn

    def announce_turn(self) -> None:
        """Tell the caller's side that a turn has begun, once."""
        if self.turn is not None and not self.turn.announced:
            self.turn.announced = True
            self.stage.outbox.tell(SpeechStarted(self.turn.item.id, milliseconds(self.turn.first_sample)))

    def _prepare_answer(self, _: Event) -> None:
        turn, detection = self.turn, self.settings.turn_detection
        assert turn is not None
        turn.judge = self.listener.new_judge()
        self.stage.common.tally.note("transcript", "started")
        audio = self.ear.memory.between(turn.first_sample, self.ear.hearing.next_sample)
        if turn.partial is not None and turn.partial.end_sample >= self.ear.hearing.last_loud_sample:
            adopt_words(self, turn, turn.partial, audio)
        else:
            ask_for_words(self, turn, audio)
        if self.stage.options.speculation and detection is not None and detection.create_response:
            turn.reply = self._new_reply(turn.timeline, None, [*self._unanswered, turn])

    def _drop_prepared(self, _: Event) -> None:
        for turn in (self.turn, *self._unanswered):
            if turn is not None:
                self._count_wasted(turn)
                if turn.transcript is not None and not turn.committed:
                    self.stage.common.tally.waste("transcript", turn.timeline)
                turn.drop_prepared()

    def _count_wasted(self, turn: CallerTurn) -> None:
        if turn.reply is not None and turn.reply.in_advance:
            self.stage.common.tally.waste("answer", turn.timeline)

    def _commit_turn(self, _: Event) -> None:
        memory = self.ear.memory
        turn = self.turn or CallerTurn(max(self.uncommitted_sample, memory.first_sample), Timeline(0))
        self.uncommitted_sample = memory.next_sample
        turn.item.audio = memory.between(turn.first_sample, memory.next_sample)
        turn.committed = True
        self.manners.turn_begins()
        turn.timeline.stamp("turn_judged")
        if turn.announced:
            self.stage.outbox.tell(SpeechStopped(turn.item.id, milliseconds(memory.next_sample)))
        previous = self.stage.history.add(turn.item)
        self.stage.outbox.tell(AudioCommitted(turn.item.id, previous))
        self.stage.outbox.tell(ItemAdded(turn.item, previous))
        self.stage.outbox.tell(ItemDone(turn.item, previous))
        if turn.transcript is None:
            ask_for_words(self, turn, turn.item.audio)
        else:
            self.stage.common.tally.note("transcript", "used")
        self._await_answer(turn)
        self._forget_turn(Event.TURN_COMMITTED)

    def _await_answer(self, turn: CallerTurn) -> None:
        self._unanswered.append(turn)
        self.spawn(tell_words(self, turn))

    def _forget_turn(self, _: Event) -> None:
        self.turn = None
        self.ear.hearing.end_of_speech()

    def add_item(self, item: Item, after: str | None) -> None:
        """The caller's side puts an item into the history. Raises BadRequest."""
        previous = self.stage.history.add(item, after)
        self.stage.outbox.tell(ItemAdded(item, previous))
        self.stage.outbox.tell(ItemDone(item, previous))
        if (turn := spoken_item(self, item)) is not None:
            self._await_answer(turn)
        self.keep()

    # --- the answer

    def drop_prepared_reply(self) -> None:
        """What the answer was prepared from has changed: it is made anew when the turn is over."""
        if self.turn is not None:
            self._count_wasted(self.turn)
            self.turn.drop_reply()

    def _release_answer(self, _: Event) -> None:
        turns, self._unanswered = self._unanswered, []
        self._go(turns[-1].reply or self._new_reply(turns[-1].timeline, None, turns))

    def request_answer(self, options: AnswerOptions | None) -> None:
        """The caller's side wants an answer to what is in the history. None: it follows from what they said."""
        self._requested = options
        self.step(Event.ANSWER_REQUESTED)

    def _start_answer(self, _: Event) -> None:
        turns: list[CallerTurn] = []
        wanted = self._requested or AnswerOptions()
        if wanted.in_conversation:  # an answer on the side leaves the turns to the one that they wait for
            turns, self._unanswered = self._unanswered, []
        if self.reply is not None:  # all of it was sent and the caller's side goes on playing it
            self._conclude(self.reply)
        recorded = [spoken_item(self, item) for item in wanted.input or () if not isinstance(item, str)]
        turns += [turn for turn in recorded if turn is not None]
        self._go(self._new_reply(turns[-1].timeline if turns else Timeline(0), self._requested, turns))

    def _go(self, reply: Reply) -> None:
        self._turns += 1
        reply.timeline.turn = self._turns
        self.reply = reply
        self.listener.idle_since = None
        if reply.in_advance:
            self.stage.common.tally.note("answer", "used")
        self.stage.common.back_off.waits(self.stage.session_id)
        if reply.answer.options.script is None:
            self.manners.caller_acted()
        reply.release()
        self.keep()

    def stop_speaking(self) -> None:
        """Somebody wants silence. Where the agent waits in silence for a judgement, what it holds is dropped."""
        if self.reply is not None:
            self.step(Event.ANSWER_CANCELLED)

    def type_text(self, text: str) -> None:
        """The caller's words, typed: what is being said is over, and they are answered. Raises BadRequest."""
        self.stop_speaking()
        self.add_item(MessageItem("user", text), None)
        self.drop_prepared_reply()
        self.manners.turn_begins()
        self.request_answer(AnswerOptions())

    def _pause_playout(self, _: Event) -> None:
        if not self.stage.options.turn_taking.early_pause:
            return
        self.stage.outbox.pause()
        if self.reply is not None:
            self.reply.timeline.restamp("playout_paused")

    def _stop_answer(self, event: Event) -> None:
        reply = self.reply
        assert reply is not None
        reply.timeline.stamp("playout_stopped")
        reply.stop("client_cancelled" if event is Event.ANSWER_CANCELLED else "turn_detected")
        self.stage.outbox.end_pauses()  # not before its sound is dropped, which would go on its way at once
        self._conclude(reply)

    def _conclude(self, reply: Reply) -> None:
        self.reply = None
        self.stage.common.back_off.answered(self.stage.session_id)
        if "first_frame_sent" in reply.timeline.stamps:
            reply.timeline.gaps_ms = self.stage.outbox.gaps_ms
        self.stage.common.telemetry.turn_over(reply.timeline, self.stage.session_id)
        log.info("%s", reply.timeline.waterfall())
        self.stage.outbox.tell(TurnTimed(reply.timeline.as_message()))
        self.keep()

    def _close_streams(self, event: Event) -> None:
        self._drop_prepared(event)
        self.stage.common.back_off.answered(self.stage.session_id)
        for task in self._tasks:
            task.cancel()

    def _new_reply(self, timeline: Timeline, options: AnswerOptions | None, turns: Sequence[CallerTurn]) -> Reply:
        """`options` None: nobody asked for the answer, it follows from the last of `turns`."""

        async def prompt() -> Prompt:
            if options is not None and options.script is not None:
                return options.script
            if options is None and (script := await self.manners.script_for(turns)) is not None:
                return script
            return await prompt_for(self, options, turns)

        settings, chosen = self.settings, options or AnswerOptions()
        answer = Answer(
            options=chosen,
            output=chosen.output or settings.output,
            voice=chosen.voice or settings.voice,
            max_output_tokens=chosen.max_output_tokens or settings.max_output_tokens,
        )
        reply = Reply(
            self.stage,
            answer,
            settings,
            timeline,
            asked=options is not None,
            prompt=prompt,
            judging=lambda: self.listener.wants_words_judged(turns[-1]) if turns else None,
            on_written=self._make_room,
            may_fill=self.manners.may_fill,
            on_audible=self._answer_audible,
            on_ended=self._answer_ended,
        )
        reply.task = self.spawn(reply.run())
        return reply

    def _make_room(self) -> None:
        """An answer is written and will sound for a while: time to shorten the history before the next turn needs it,
        for then the LLM must read all of it anew."""
        if self.stage.history.compact(TURN_TOKENS + self.stage.options.max_answer_tokens):
            self.prefill()

    def _answer_audible(self, reply: Reply) -> None:
        if reply is self.reply:
            self.stage.common.back_off.answered(self.stage.session_id)
            self.step(Event.ANSWER_AUDIBLE)

    def _answer_ended(self, reply: Reply) -> None:
        if reply is self.reply:
            self._conclude(reply)
            self.stage.outbox.end_pauses()
            self.listener.idle_since = self.ear.memory.next_sample
            self.step(Event.ANSWER_ENDED)
            if reply.ending is not None:
                self.manners.end(reply.ending)
