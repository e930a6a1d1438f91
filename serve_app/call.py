"""One call: the caller's voice drives the turn machine, and the machine's commands drive the models.

Facts (voice, judgements, orders, the answer's progress) become events of `conversation.turns`; the commands that
follow are carried out at once and never wait, so that no two facts are ever half dealt with. What takes time runs
in tasks of the call's one TaskGroup and comes back as another fact.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np

from deployments.contracts import SPEECH_RATE_HZ, Message, Pcm
from deployments.errors import AntiphonError, CallerGone, ModelFailed
from serve_app.caller_turn import CallerTurn, Listened
from serve_app.conversation.items import Answer, AnswerOptions, CallSettings, ServerVad
from serve_app.conversation.judging import TurnJudge
from serve_app.conversation.listening import Fact, VoicePaused, VoiceResumed, VoiceStarted, milliseconds
from serve_app.conversation.messages import (
    AudioCommitted,
    IdleTimedOut,
    ItemAdded,
    ItemDone,
    SpeechStarted,
    SpeechStopped,
    StateChanged,
    Transcribed,
    TranscriptionFailed,
    TurnTimed,
)
from serve_app.conversation.timeline import Timeline
from serve_app.conversation.turns import Command, Event, State, step
from serve_app.ear import Ear
from serve_app.orders import obey, prompt_for
from serve_app.reply import Reply, Stage, innermost

log = logging.getLogger("antiphon.call")

TURN_MODEL_SAMPLES = 8 * SPEECH_RATE_HZ
"""The turn model was trained on the last 8 s of a turn."""


class Call:
    """From join to leave. `run` returns when the caller has left and every stream of the call is closed."""

    def __init__(self, stage: Stage, ear: Ear, settings: CallSettings) -> None:
        self.stage = stage
        self.settings = settings
        self.ear = ear
        self.state = State.IDLE
        self.turn: CallerTurn | None = None
        """What the caller says now, until it is committed."""
        self.reply: Reply | None = None
        """What the agent says now, until it was played."""
        self.uncommitted_sample = 0
        self._committed: CallerTurn | None = None
        self._requested = AnswerOptions()
        self._turns = 0
        self._idle_since: int | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._commands: dict[Command, Callable[[Event], None]] = {
            Command.BEGIN_TURN: self._begin_turn,
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
            async with asyncio.TaskGroup() as self._group:
                self._spawn(self.stage.outbox.run())
                try:
                    await self._listen()
                finally:
                    self.step(Event.CALLER_LEFT)
        except* CallerGone as gone:
            log.info("the caller is gone: %s", innermost(gone))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # --- facts

    async def _listen(self) -> None:
        async for given in self.stage.transport.inputs():
            if isinstance(given, np.ndarray):
                await self._hear(given)
            else:
                obey(self, given)

    async def _hear(self, pcm: Pcm) -> None:
        async for fact in self.ear.hear(pcm):
            if fact is not None:
                self._take(fact)
            self._tick()

    def _take(self, fact: Fact) -> None:
        if isinstance(fact, VoiceStarted):
            self._voice_started(fact)
        elif isinstance(fact, VoiceResumed):
            self._voice_resumed()
        elif isinstance(fact, VoicePaused) and self.turn is not None:
            self._voice_paused(self.turn, fact.last_voiced_sample)

    def _voice_started(self, fact: VoiceStarted) -> None:
        first = max(fact.first_sample - self.ear.prefix_samples, self.uncommitted_sample)
        self.turn = CallerTurn(first, Timeline(0))
        started_s = self.ear.time_s(fact.first_sample)
        self.turn.timeline.stamp("caller_started", at_s=started_s)
        self._idle_since = None
        if self.state is State.IDLE or self._may_interrupt():
            if self.reply is not None:
                self.reply.timeline.restamp("interruption_started", at_s=started_s)
            self.step(Event.VOICE_STARTED)
        else:
            self._begin_turn(Event.VOICE_STARTED)

    def _may_interrupt(self) -> bool:
        detection = self.settings.turn_detection
        return detection is not None and detection.interrupt_response

    def _voice_paused(self, turn: CallerTurn, last_voiced_sample: int) -> None:
        turn.timeline.restamp("caller_stopped", at_s=self.ear.time_s(last_voiced_sample))
        if self.state is State.HEARING:
            self.step(Event.VOICE_PAUSED)
        elif self.state is not State.HELD:
            turn.judge = self._new_judge()

    def _voice_resumed(self) -> None:
        if self.state is State.ENDING:
            self.step(Event.VOICE_RESUMED)
        elif self.turn is not None:
            self.turn.judge = None

    def _new_judge(self) -> TurnJudge | None:
        detection = self.settings.turn_detection
        return None if detection is None else TurnJudge(detection, self.stage.options.turn_taking)

    def _tick(self) -> None:
        """A window has passed: is anything over?"""
        if self.state is State.HELD:
            self._judge_hold()
        elif self.turn is not None and self.turn.judge is not None:
            self._judge_turn(self.turn, self.turn.judge)
        elif self.turn is not None and self.state is State.HEARING:
            self._bound_turn(self.turn)
        elif self.turn is None and self.state is State.IDLE:
            self.ear.forget_idle_audio()
            self._watch_idleness()

    def _judge_hold(self) -> None:
        hearing, options = self.ear.hearing, self.stage.options.turn_taking
        if hearing.voiced_ms >= options.interruption_ms:
            self.step(Event.INTERRUPTION_JUDGED)
        elif hearing.silence_ms >= options.hold_ms:
            self._forget_turn(Event.FALSE_ALARM_JUDGED)
            self.step(Event.FALSE_ALARM_JUDGED)

    def _judge_turn(self, turn: CallerTurn, judge: TurnJudge) -> None:
        silence_ms = self.ear.hearing.silence_ms
        if judge.wants_opinion(silence_ms):
            self._spawn(self._ask_turn_model(turn, judge))
        if judge.is_over(silence_ms):
            self.end_turn()

    async def _ask_turn_model(self, turn: CallerTurn, judge: TurnJudge) -> None:
        end = self.ear.hearing.next_sample
        audio = self.ear.memory.between(max(turn.first_sample, end - TURN_MODEL_SAMPLES), end)
        try:
            async with asyncio.timeout(self.stage.options.deadlines.end_of_turn_s):
                judge.probability = await self.stage.models.turn.end_of_turn(audio)
        except (AntiphonError, TimeoutError) as failed:
            log.warning("the turn model gave no opinion, the silence decides: %s", failed)
            return
        if turn is self.turn and turn.judge is judge and judge.is_over(self.ear.hearing.silence_ms):
            self.end_turn()

    def _bound_turn(self, turn: CallerTurn) -> None:
        longest = self.stage.options.listening.max_turn_s * SPEECH_RATE_HZ
        if self.ear.memory.next_sample - turn.first_sample >= longest:
            self.end_turn()

    def end_turn(self) -> None:
        """The caller's turn is judged over; it is answered where the settings say so and nothing is being said."""
        detection = self.settings.turn_detection
        wanted = detection is not None and detection.create_response
        if self.turn is not None:
            self.turn.timeline.stamp("turn_judged")
        answers = wanted and self.state in (State.IDLE, State.HEARING, State.ENDING)
        self.step(Event.TURN_OVER if answers else Event.TURN_COMMITTED)

    def _watch_idleness(self) -> None:
        detection = self.settings.turn_detection
        if not isinstance(detection, ServerVad) or detection.idle_timeout_ms is None or self._idle_since is None:
            return
        now = self.ear.memory.next_sample
        if milliseconds(now - self._idle_since) < detection.idle_timeout_ms:
            return
        self.turn = CallerTurn(self._idle_since, Timeline(0), silent=True)
        first_ms, end_ms = milliseconds(self._idle_since), milliseconds(now)
        self._idle_since = None
        self.stage.outbox.tell(IdleTimedOut(self.turn.item.id, first_ms, end_ms))
        self.end_turn()

    # --- the machine and its commands

    def step(self, event: Event) -> None:
        """Tell the machine, and carry out what it commands."""
        before = self.state
        self.state, commands = step(before, event)
        for command in commands:
            self._commands[command](event)
        if self.state is not before and self.state is not State.CLOSED:
            self.stage.outbox.tell(StateChanged(self.state.name.lower()))
        if self.state is State.HEARING and self.ear.hearing.paused and self.turn is not None:
            self.step(Event.VOICE_PAUSED)  # the pause came while something else was decided

    def _begin_turn(self, _: Event) -> None:
        if self.turn is not None and not self.turn.announced:
            self.turn.announced = True
            self.stage.outbox.tell(SpeechStarted(self.turn.item.id, milliseconds(self.turn.first_sample)))

    def _prepare_answer(self, _: Event) -> None:
        turn, detection = self.turn, self.settings.turn_detection
        assert turn is not None
        turn.judge = self._new_judge()
        turn.transcript = self._transcribing(turn)
        if self.stage.options.speculation and detection is not None and detection.create_response:
            turn.reply = self._new_reply(turn.timeline, AnswerOptions(), turn)

    def _drop_prepared(self, _: Event) -> None:
        for turn in (self.turn, self._committed):
            if turn is not None:
                turn.drop_prepared()

    def _commit_turn(self, _: Event) -> None:
        end = self.ear.memory.next_sample
        turn = self.turn or CallerTurn(max(self.uncommitted_sample, self.ear.memory.first_sample), Timeline(0))
        turn.committed = True
        turn.item.audio = self.ear.memory.between(turn.first_sample, end)
        if turn.announced:
            self.stage.outbox.tell(SpeechStopped(turn.item.id, milliseconds(end)))
        previous = self.stage.history.add(turn.item)
        self.stage.outbox.tell(AudioCommitted(turn.item.id, previous))
        self.stage.outbox.tell(ItemAdded(turn.item, previous))
        self.stage.outbox.tell(ItemDone(turn.item, previous))
        self._committed, self.uncommitted_sample = turn, end
        turn.transcript = turn.transcript or self._transcribing(turn)
        self._spawn(self._announce_transcript(turn))
        self._forget_turn(Event.TURN_COMMITTED)

    def _forget_turn(self, _: Event) -> None:
        self.turn = None
        self.ear.hearing.end_of_speech()

    def _release_answer(self, _: Event) -> None:
        turn = self._committed
        assert turn is not None
        self._committed = None
        self._go(turn.reply or self._new_reply(turn.timeline, AnswerOptions(), turn))

    def _start_answer(self, _: Event) -> None:
        turn, self._committed = self._committed, None
        if self.reply is not None:  # all of it was sent and the caller's side goes on playing it
            self._conclude(self.reply)
        timeline = turn.timeline if turn is not None else Timeline(0)
        self._go(self._new_reply(timeline, self._requested, turn))

    def request_answer(self, options: AnswerOptions) -> None:
        """The caller's side wants an answer to what is in the history."""
        self._requested = options
        self.step(Event.ANSWER_REQUESTED)

    def _go(self, reply: Reply) -> None:
        self._turns += 1
        reply.timeline.turn = self._turns
        self.reply = reply
        reply.release()

    def _pause_playout(self, _: Event) -> None:
        self.stage.outbox.pause()
        if self.reply is not None:
            self.reply.timeline.restamp("playout_paused")

    def _stop_answer(self, event: Event) -> None:
        reply = self.reply
        self.stage.outbox.resume()
        if reply is None:
            return
        reply.timeline.stamp("playout_stopped")
        reply.stop("client_cancelled" if event is Event.ANSWER_CANCELLED else "turn_detected")
        self._conclude(reply)

    def _conclude(self, reply: Reply) -> None:
        self.reply = None
        if log.isEnabledFor(logging.INFO):
            log.info("%s", reply.timeline.waterfall())
        self.stage.outbox.tell(TurnTimed(reply.timeline.as_message()))

    def _close_streams(self, _: Event) -> None:
        for task in self._tasks:
            task.cancel()

    # --- the models

    def _new_reply(self, timeline: Timeline, options: AnswerOptions, turn: CallerTurn | None) -> Reply:
        async def prompt() -> Sequence[Message] | None:
            return await prompt_for(self, options, turn)

        settings = self.settings
        answer = Answer(
            options=options,
            output=options.output or settings.output,
            voice=options.voice or settings.voice,
            max_output_tokens=options.max_output_tokens or settings.max_output_tokens,
        )
        reply = Reply(
            self.stage,
            answer,
            settings,
            timeline,
            prompt=prompt,
            on_audible=self._answer_audible,
            on_ended=self._answer_ended,
        )
        reply.task = self._spawn(reply.run())
        return reply

    def _answer_audible(self, reply: Reply) -> None:
        if reply is self.reply:
            self.step(Event.ANSWER_AUDIBLE)

    def _answer_ended(self, reply: Reply) -> None:
        if reply is not self.reply:
            return
        self._conclude(reply)
        self._idle_since = self.ear.memory.next_sample
        self.step(Event.ANSWER_ENDED)
        if self.turn is not None and self.state is State.IDLE:
            self.step(Event.VOICE_STARTED)  # the caller began over the answer, which was not to be interrupted

    def _transcribing(self, turn: CallerTurn) -> asyncio.Task[Listened]:
        end = self.ear.hearing.next_sample if self.turn is turn else self.ear.memory.next_sample
        audio = self.ear.memory.between(turn.first_sample, end)
        return self._spawn(self._transcribe(turn, audio))

    async def _transcribe(self, turn: CallerTurn, audio: Pcm) -> Listened:
        try:
            async with asyncio.timeout(self.stage.options.deadlines.transcript_s):
                transcript = await self.stage.models.asr.transcribe(
                    audio, language=self.settings.language, hint=self.settings.hint
                )
        except TimeoutError:
            return ModelFailed("the transcript did not come in time")
        except AntiphonError as failed:
            return failed
        turn.timeline.restamp("transcript_ready")
        return transcript

    async def _announce_transcript(self, turn: CallerTurn) -> None:
        assert turn.item.audio is not None
        try:
            transcript = await turn.heard()
        except AntiphonError as failed:
            if self.settings.transcribe:
                self.stage.outbox.tell(TranscriptionFailed(turn.item.id, str(failed)))
            return
        turn.item.text = transcript.text
        if self.settings.transcribe:
            seconds = len(turn.item.audio) / SPEECH_RATE_HZ
            self.stage.outbox.tell(Transcribed(turn.item.id, transcript.text, seconds))
