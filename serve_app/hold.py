"""A hold: the agent fell silent for a sound of the caller's, which is listened to until it can be judged."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployments.audio import resample, to_float
from deployments.contracts import SPEECH_RATE_HZ
from deployments.urgency import Priority, urgent
from serve_app.caller_turn import CallerTurn
from serve_app.conversation.barge_in import Intrusion, Verdict, judge_for, repeats
from serve_app.conversation.echo import DELAY_MS, HEARD_MS, likeness
from serve_app.conversation.listening import level_dbfs, milliseconds, samples
from serve_app.conversation.timeline import now_s

if TYPE_CHECKING:
    from serve_app.call import Call

log = logging.getLogger("antiphon.call")

SAME_SOUND_MS = 200
"""A sound that was judged to be nothing goes on over gaps as short as this."""


def echo_likeness(call: "Call", first: int, end: int) -> float:
    """How alike the caller's samples [first, end) are to what was played to them."""
    ear, played = call.ear, call.stage.outbox.played
    heard = ear.memory.between(max(first, end - samples(HEARD_MS)), end)
    end_s = ear.time_s(end)
    sound = played.between(end_s - (len(heard) / SPEECH_RATE_HZ + DELAY_MS / 1000), end_s)
    return likeness(heard, resample(sound, played.rate_hz, SPEECH_RATE_HZ)) if sound.any() else 0.0


class Hold:
    """Of one `turn` that may become the caller's. `early`: they began so soon after the agent that they had only
    paused. `on_words` is called when there is more to judge by."""

    def __init__(
        self, call: "Call", turn: CallerTurn, first_sample: int, on_words: Callable[["Hold"], None], *, early: bool
    ) -> None:
        self.turn = turn
        self.early = early
        self._call = call
        self.first_sample = first_sample
        self._on_words = on_words
        self._began = call.ear.hearing.next_sample
        self._judge = judge_for(call.stage.options.turn_taking)
        self._asking: asyncio.Task[None] | None = None
        self._words: str | None = None
        self._orders_silence = self._own_words = False
        self._words_expected = self._by_words = call.stage.options.turn_taking.barge_in == "words"
        self._read_samples = 0  # of the voice
        self._echo_looked_at, self._echo = 0, 0.0
        self.judged = Intrusion(0, 0, 0)
        """As it was known when it was last judged."""

    def verdict(self) -> Verdict | None:
        """After what was heard so far."""
        self._ask()
        self.judged = self._intrusion()
        verdict = self._judge.verdict(self.judged)
        if verdict is not None and self._asking is not None:
            self._asking.cancel()
        return verdict

    def _intrusion(self) -> Intrusion:
        hearing = self._call.ear.hearing
        return Intrusion(
            voiced_ms=hearing.voiced_ms,
            silence_ms=hearing.silence_ms,
            held_ms=milliseconds(hearing.next_sample - self._began),
            level_dbfs=level_dbfs(
                to_float(self._call.ear.memory.between(self.first_sample, hearing.last_voiced_sample))
            ),
            echo_likeness=self._likeness() if self._by_words else 0.0,
            words=self._words,
            orders_silence=self._orders_silence,
            own_words=self._own_words,
            unread_ms=milliseconds(hearing.voiced_samples - self._read_samples),
            words_expected=self._words_expected,
        )

    def _likeness(self) -> float:
        """Looked at again when there is more of the sound."""
        end = self._call.ear.hearing.last_voiced_sample
        if end > self._echo_looked_at:
            self._echo_looked_at, self._echo = end, echo_likeness(self._call, self.first_sample, end)
        return self._echo

    def _ask(self) -> None:
        hearing, options = self._call.ear.hearing, self._call.stage.options.turn_taking
        unread_ms = milliseconds(hearing.voiced_samples - self._read_samples)
        wanted_ms = 1 if hearing.paused else options.words_every_ms if self._read_samples else options.interruption_ms
        enough = hearing.voiced_ms >= options.interruption_ms and unread_ms >= wanted_ms
        if self._words_expected and self._asking is None and enough:
            self._asking = self._call.spawn(self._read(hearing.voiced_samples, hearing.next_sample))

    async def _read(self, voiced_samples: int, end: int) -> None:
        call, began_s = self._call, now_s()
        audio = call.ear.memory.between(self.turn.first_sample, end)
        try:
            limit_s = call.stage.options.deadlines.barge_in_words_s
            with urgent(Priority.FIRST_PHRASE, limit_s, call.stage.session_id):
                async with asyncio.timeout(limit_s):
                    transcript = await call.stage.models.asr.transcribe(
                        audio, language=call.settings.language, hint=call.settings.hint, hasty=True
                    )
            self._words, self._read_samples = transcript.text.strip(), voiced_samples
            self._orders_silence = call.manners.orders_silence(self._words)
            self._own_words = repeats(self._words, call.stage.history.last_answer())
            if call.stage.options.listening.partials:
                self.turn.heard_up_to(end, began_s, transcript)
        except Exception as failed:  # whatever it is: the call can do without these words
            log.warning("the words over the agent's voice are not known, the voice decides: %s", failed)
            self._words, self._words_expected = None, False
        self._asking = None
        self._on_words(self)


@dataclass(slots=True)
class Dismissed:
    """A sound that was judged to be nothing while it went on: the agent does not fall silent for it again."""

    first_sample: int
    last_sample: int
    level_dbfs: float
    echo: bool
    until_sample: int | None
    """A hum that goes on for longer than this was none."""


class Doorman:
    """Knows the sounds that were dismissed in a call, and lets new ones by."""

    def __init__(self, call: "Call") -> None:
        self._call = call
        self._dismissed: Dismissed | None = None

    def dismiss(self, hold: Hold) -> None:
        """A false alarm. One that is over is not remembered, but an echo comes again."""
        options, hearing, intrusion = self._call.stage.options.turn_taking, self._call.ear.hearing, hold.judged
        echo = intrusion.echo_likeness >= options.echo_likeness or intrusion.own_words
        if echo or not hearing.paused:
            hum = bool(intrusion.words) and not echo
            until = hold.first_sample + samples(options.hum_ms) if hum else None
            self._dismissed = Dismissed(
                hold.first_sample, hearing.last_voiced_sample, intrusion.level_dbfs, echo, until
            )

    @property
    def hears_echo(self) -> bool:
        """Is the sound that was dismissed last an echo?"""
        return self._dismissed is not None and self._dismissed.echo

    def lets_by(self, first_sample: int) -> int | None:
        """Where that began which is to be listened to; None: this voice is only more of what was dismissed."""
        sound, options, now = self._dismissed, self._call.stage.options.turn_taking, self._call.ear.hearing.next_sample
        if sound is None or options.barge_in == "voice":
            return first_sample
        if sound.echo:  # it comes back for as long as the agent speaks; somebody may speak over it
            known = echo_likeness(self._call, now - samples(HEARD_MS), now) >= options.echo_doubt
        else:
            level = level_dbfs(to_float(self._call.ear.memory.between(first_sample, now)))
            goes_on = first_sample - sound.last_sample < samples(SAME_SOUND_MS)
            known = goes_on and level < sound.level_dbfs + options.louder_db
            if known and sound.until_sample is not None and now > sound.until_sample:
                self._dismissed = None
                return sound.first_sample
        if known:
            sound.last_sample = now
        return None if known else first_sample
