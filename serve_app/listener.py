"""The listening half of a call: what the caller's voice and their silence mean for the turn machine."""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from deployments.contracts import SPEECH_RATE_HZ, Pcm
from deployments.errors import AntiphonError
from deployments.urgency import Priority, urgent
from serve_app.caller_turn import CallerTurn
from serve_app.conversation.barge_in import Verdict
from serve_app.conversation.items import ServerVad
from serve_app.conversation.judging import TurnJudge
from serve_app.conversation.listening import Fact, VoicePaused, VoiceResumed, VoiceStarted, milliseconds, samples
from serve_app.conversation.messages import IdleTimedOut
from serve_app.conversation.timeline import Timeline
from serve_app.conversation.turns import Event, State
from serve_app.ear import Ear
from serve_app.hold import Doorman, Hold
from serve_app.partials import Partials
from serve_app.reply import Reply
from serve_app.second_hearing import SecondHearing

if TYPE_CHECKING:
    from serve_app.call import Call

log = logging.getLogger("antiphon.call")

TURN_MODEL_SAMPLES = 8 * SPEECH_RATE_HZ
"""The turn model was trained on the last 8 s of a turn."""


ECHO_TAIL_MS = 800
"""The end of an answer is on its way to a far loudspeaker and back for so long, a room's reverberation included."""


class Listener:
    """Hears one caller and tells the call's machine. Time is counted in windows of the caller's audio."""

    def __init__(self, call: "Call", ear: Ear) -> None:
        self._call = call
        self._ear = ear
        self._partials = Partials(call, ear)
        self._hold: Hold | None = None
        self._doorman = Doorman(call)
        self._second_hearing = SecondHearing(call)
        self.idle_since: int | None = None
        """The sample from which nobody has spoken after an answer."""

    async def hear(self, pcm: Pcm) -> None:
        """int16[n] at 16 kHz."""
        async for fact in self._ear.hear(pcm):
            self._call.recorder.window(self._ear.hearing.probability)
            if fact is not None:
                self._take(fact)
            self._tick()

    # --- facts

    def _take(self, fact: Fact) -> None:
        turn = self._call.turn
        self._call.recorder.fact(fact)
        if isinstance(fact, VoiceStarted):
            self._voice_started(fact)
        elif isinstance(fact, VoiceResumed):
            self._voice_resumed()
        elif isinstance(fact, VoicePaused) and turn is not None:
            turn.timeline.restamp("caller_stopped", at_s=self._ear.time_s(self._ear.hearing.last_loud_sample))
            self._call.settle()

    def _voice_started(self, fact: VoiceStarted) -> None:
        call = self._call
        over_the_agent = self._is_over_the_agent(fact.first_sample)
        began = self._doorman.lets_by(fact.first_sample) if over_the_agent else fact.first_sample
        if began is None:
            self._ear.hearing.end_of_speech()
            if self._doorman.hears_echo:
                self._second_hearing.doubt(fact.first_sample)
            call.recorder.dismissed()
            return
        first = max(began - self._ear.prefix_samples, call.uncommitted_sample)
        call.turn = CallerTurn(first, Timeline(0))
        started_s = self._ear.time_s(fact.first_sample)
        call.turn.timeline.stamp("caller_started", at_s=started_s)
        self.idle_since = None
        call.manners.caller_acted()
        if call.reply is None:
            call.step(Event.VOICE_STARTED)
        elif self._may_interrupt():
            call.reply.timeline.restamp("interruption_started", at_s=started_s)
            early = self._is_early(call.reply, started_s)
            self._hold = Hold(call, call.turn, fact.first_sample, on_words=self._judge_hold, early=early)
            call.step(Event.VOICE_STARTED)
        else:
            call.announce_turn()

    def _onset_windows(self) -> int:
        """What makes speech: while the agent speaks it is to fall silent soon, and no turn comes of a click."""
        options = self._call.stage.options
        speaks = self._call.reply is not None and self._may_interrupt()
        return options.turn_taking.barge_in_windows if speaks else options.listening.onset_windows

    def _heed_clicks(self, onset_windows: int) -> None:
        hearing = self._ear.hearing
        if hearing.onset_windows != onset_windows:
            hearing.onset_windows = onset_windows
            self._call.recorder.listens(hearing, self._call.settings.turn_detection)

    def _is_over_the_agent(self, sample: int) -> bool:
        """Over its voice, or so soon after it that it may be its echo."""
        ended = self.idle_since
        tail = ended is not None and sample - ended < samples(ECHO_TAIL_MS)
        return tail or (self._call.reply is not None and self._may_interrupt())

    def _is_early(self, reply: Reply, started_s: float) -> bool:
        """Did this voice begin as the answer did, which is to begin anew? One that does not fall silent goes on."""
        options, sent = self._call.stage.options.turn_taking, reply.timeline.stamps.get("first_frame_sent")
        return options.early_pause and sent is not None and started_s - sent.at_s < options.yield_ms / 1000

    def _may_interrupt(self) -> bool:
        detection = self._call.settings.turn_detection
        return detection is not None and detection.interrupt_response

    def _voice_resumed(self) -> None:
        if self._call.state is State.ENDING:
            self._call.step(Event.VOICE_RESUMED)
        elif self._call.turn is not None:
            self._call.turn.judge = None

    # --- judgements

    def new_judge(self) -> TurnJudge | None:
        """For a pause that begins now."""
        detection = self._call.settings.turn_detection
        options = self._call.stage.options
        turn_taking = options.turn_taking
        if not options.speculation:  # then nobody asks for the words before the turn is over
            turn_taking = turn_taking.model_copy(update={"ask_llm": False})
        if detection is None:
            return None
        judge = TurnJudge(detection, turn_taking)
        self._call.recorder.pause(judge)
        return judge

    def _tick(self) -> None:
        """A window has passed: is anything over?"""
        turn, state = self._call.turn, self._call.state
        self._heed_clicks(self._onset_windows())
        if state is State.HELD and self._hold is not None:
            self._judge_hold(self._hold)
        elif turn is not None and turn.judge is not None:
            self._judge_turn(turn, turn.judge)
        elif turn is not None and state is State.HEARING:
            self._partials.tick(turn)
            self._bound_turn(turn)
        elif turn is None and state is State.IDLE:
            self._ear.forget_idle_audio()
            self._watch_idleness()
        self._second_hearing.tick()
        self._call.manners.watch()

    def _judge_hold(self, hold: Hold) -> None:
        """What stops the agent for good, and what it speaks on after. A hold that is over is not judged."""
        if self._call.state is not State.HELD or hold.turn is not self._call.turn:
            return
        verdict = hold.verdict()
        self._call.recorder.intrusion(hold.judged, verdict)
        if verdict is Verdict.INTERRUPTION:
            self._call.step(Event.INTERRUPTION_JUDGED)
            self._partials.tell(hold.turn)  # it was judged by its words, mostly
        elif verdict is Verdict.FALSE_ALARM:
            self._doorman.dismiss(hold)
            if self._doorman.hears_echo:
                self._second_hearing.doubt(hold.first_sample)
            if hold.early:
                self._call.stage.outbox.rewind()
            else:
                self._call.stage.outbox.mend()
            self._call.step(Event.FALSE_ALARM_JUDGED)

    def _judge_turn(self, turn: CallerTurn, judge: TurnJudge) -> None:
        silence_ms = self._ear.hearing.silence_ms
        asks, over = judge.wants_opinion(silence_ms), judge.is_over(silence_ms)
        self._call.recorder.silence(silence_ms, asks, over)
        if asks:
            self._call.spawn(self._ask_turn_model(turn, judge))
        if over:
            self._end_turn()

    async def _ask_turn_model(self, turn: CallerTurn, judge: TurnJudge) -> None:
        call, end = self._call, self._ear.hearing.next_sample
        audio = self._ear.memory.between(max(turn.first_sample, end - TURN_MODEL_SAMPLES), end)
        try:
            limit_s = call.stage.options.deadlines.end_of_turn_s
            with urgent(Priority.FIRST_PHRASE, limit_s, call.stage.session_id):
                async with asyncio.timeout(limit_s):
                    judge.probability = await call.stage.models.turn.end_of_turn(audio)
        except (AntiphonError, TimeoutError) as failed:
            log.warning("the turn model gave no opinion, the silence decides: %s", failed)
            return
        self._judged(turn, judge)

    def wants_words_judged(self, turn: CallerTurn) -> Callable[[float | None], None] | None:
        """Whom the LLM is to tell whether what the caller said is a whole sentence; None: nobody asks."""
        judge = turn.judge
        if judge is None or not judge.doubts or turn.committed:
            return None

        def told(probability: float | None) -> None:
            judge.sentence_end = probability
            self._judged(turn, judge)

        return told

    def sure_of_end(self, turn: CallerTurn) -> None:
        """What the caller said is whole, whatever the LLM would think of it."""
        if turn.judge is not None and not turn.committed:
            turn.judge.sentence_end = 1.0
            self._judged(turn, turn.judge)

    def _judged(self, turn: CallerTurn, judge: TurnJudge) -> None:
        if turn is not self._call.turn or turn.judge is not judge:
            return
        silence_ms = self._ear.hearing.silence_ms
        over = judge.is_over(silence_ms)
        self._call.recorder.opinion(judge, silence_ms, over)
        if over:
            self._end_turn()

    def _bound_turn(self, turn: CallerTurn) -> None:
        longest = self._call.stage.options.listening.max_turn_s * SPEECH_RATE_HZ
        if self._ear.memory.next_sample - turn.first_sample >= longest:
            self._end_turn()

    def _end_turn(self) -> None:
        """The turn is judged over; it is answered where the settings say so and nothing is being said."""
        detection = self._call.settings.turn_detection
        answers = detection is not None and detection.create_response and self._call.reply is None
        self._call.step(Event.TURN_OVER if answers else Event.TURN_COMMITTED)

    def _watch_idleness(self) -> None:
        detection = self._call.settings.turn_detection
        if not isinstance(detection, ServerVad) or detection.idle_timeout_ms is None or self.idle_since is None:
            return
        first, now = self.idle_since, self._ear.memory.next_sample
        if milliseconds(now - first) < detection.idle_timeout_ms:
            return
        self.idle_since = None
        self._call.turn = turn = CallerTurn(first, Timeline(0), silent=True)
        self._call.stage.outbox.tell(IdleTimedOut(turn.item.id, milliseconds(first), milliseconds(now)))
        self._end_turn()
