"""The caller's words while they speak: shown to them, read by the LLM in advance, and at a pause the transcript itself.

A request begins every so often, and whenever the voice breaks off for a moment. Most of these moments lie within the
sentence; where one was its end, the transcript is on its way before the pause has lasted long enough to be called one.
"""

import logging
from typing import TYPE_CHECKING

from deployments.contracts import Message, Pcm
from deployments.errors import AntiphonError
from deployments.urgency import Priority, urgent
from serve_app.caller_turn import CallerTurn, Listened, Partial
from serve_app.conversation.listening import samples
from serve_app.conversation.messages import TranscribedSoFar
from serve_app.conversation.timeline import now_s
from serve_app.conversation.turns import State
from serve_app.ear import Ear
from serve_app.words import understand

if TYPE_CHECKING:
    from serve_app.call import Call

log = logging.getLogger("antiphon.call")

BREAK_MS = 96
"""Voice since the last request that makes another one at a break worth its while."""
DUTY = 3
"""A request begins at the earliest after so many times what the last one took: a busy ASR is left alone."""
HURRY_MS, HURRIED_MS = 1000, 96
"""Somebody waits for the first words: in the first second of voice a request begins this soon after the one before,
until there are any. What has no words for longer is noise, which is to cost no more than speech."""
PREFILL_WORDS = 2
"""New words that are worth a request to the LLM."""
READ_WITHIN_S = 1.0
"""Later they are read with the words that came since."""


class Partials:
    """Of one call; asked after every window of a turn. One request at a time, which nobody waits for."""

    def __init__(self, call: "Call", ear: Ear) -> None:
        self._call = call
        self._ear = ear
        self._took_s = 0.0
        self._reading = False

    def tick(self, turn: CallerTurn) -> None:
        """A window of the caller's turn was heard, and no pause yet."""
        options, hearing = self._call.stage.options.listening, self._ear.hearing
        if not options.partials or (turn.partial is not None and not turn.partial.task.done()):
            return
        since = hearing.last_loud_sample - (turn.partial.end_sample if turn.partial else turn.first_sample)
        spoken_ms = hearing.voiced_ms
        broke_off = hearing.faint_ms > 0 and since >= samples(BREAK_MS)
        hurries = not turn.stable.latest and spoken_ms < HURRY_MS
        every_ms = HURRIED_MS if hurries else max(options.partial_every_ms, DUTY * self._took_s * 1000)
        due = spoken_ms >= options.partial_from_ms and (broke_off or since >= samples(every_ms))
        if due and not self._call.stage.held_back:
            self._begin(turn)

    def _begin(self, turn: CallerTurn) -> None:
        end = self._ear.hearing.next_sample
        if end - turn.first_sample > samples(self._call.stage.options.listening.partial_until_s * 1000):
            return
        audio = self._ear.memory.between(turn.first_sample, end)
        turn.partial = Partial(end, now_s(), self._call.spawn(self._understand(turn, audio)))

    async def _understand(self, turn: CallerTurn, audio: Pcm) -> Listened:
        began_s = now_s()
        listened = await understand(self._call, audio, hasty=True)
        self._took_s = now_s() - began_s
        if not isinstance(listened, AntiphonError):
            turn.unread_words += turn.stable.push(listened.text)
            self.tell(turn)
        return listened

    def tell(self, turn: CallerTurn) -> None:
        """The caller's side, and the LLM, what is new of its words. Not once it is judged whether it is over."""
        call, text, latest = self._call, turn.stable.text, turn.stable.latest
        if turn is not call.turn or call.state is not State.HEARING:
            return
        if latest and (latest, text) != turn.told and turn.announced and call.settings.transcribe:
            turn.told = latest, text
            call.stage.outbox.tell(TranscribedSoFar(turn.item.id, latest, len(text)))
        if call.stage.options.prefill and turn.unread_words >= PREFILL_WORDS and not self._reading:
            turn.unread_words = 0
            self._reading = True
            call.spawn(self._read(turn.stable.likely))

    async def _read(self, text: str) -> None:
        """Let the LLM read what was said so far. The answer's prompt goes on from there."""
        call = self._call
        prompt = [*call.stage.history.prompt(call.settings.instructions), Message("user", text)]
        try:
            with urgent(Priority.SPECULATION, READ_WITHIN_S, call.stage.session_id):
                await call.stage.models.llm.sentence_end(
                    prompt, session_id=call.stage.session_id, tools=call.settings.tools
                )
        except AntiphonError as failed:
            log.warning("the caller's first words were not read in advance: %s", failed)
        finally:
            self._reading = False
