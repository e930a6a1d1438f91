"""What the agent says and does in a call without asking the LLM: greet, watch a silence, obey a word, say goodbye."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from serve_app.caller_turn import CallerTurn
from serve_app.conversation.barge_in import plain
from serve_app.conversation.items import AnswerOptions, Ending, Script, ServerVad
from serve_app.conversation.listening import samples
from serve_app.conversation.silence import Due, Silence
from serve_app.conversation.spoken_orders import SpokenOrder, SpokenOrders
from serve_app.conversation.turns import State

if TYPE_CHECKING:
    from serve_app.call import Call

log = logging.getLogger("antiphon.call")

ATTEND_S = 1.0
"""A client says at once how it wants the call to be, and a room's takes the agent's track; then who is here is here."""
LAST_WORD_S = 0.3
"""The last word is on its way to the caller's ear for so long after it was played here."""


class Manners:
    """Of one call. Nothing here waits, but for its own tasks."""

    def __init__(self, call: "Call") -> None:
        options = call.stage.options
        self._call = call
        self._orders = SpokenOrders(options.phrases)
        self._silence = Silence(samples(options.silence.still_there_after_s * 1000))
        self._filled = False
        self._leaving = False

    def begin(self) -> None:
        """The call begins."""
        self.prepare()
        if self._call.stage.session.past is not None or self._call.stage.options.greeting:
            self._call.spawn(self._open())

    def prepare(self) -> None:
        """The voice is known, or has changed: see to its fixed sentences."""
        call = self._call
        voice, speed = call.settings.voice, call.settings.speed
        if call.settings.output == "audio" and not call.stage.stock.has(voice, speed):
            call.spawn(call.stage.stock.prepare(voice, speed))

    async def _open(self) -> None:
        """The first words are the agent's: a greeting, or the answer that a conversation had broken off at."""
        try:
            async with asyncio.timeout(ATTEND_S):
                await self._call.stage.transport.attended()
        except TimeoutError:
            pass
        past = self._call.stage.session.past
        if self._call.state is not State.IDLE or self._call.answered:
            return
        if past is None:
            self._speak(self._call.stage.options.greeting)
        elif past.unanswered and past.items:
            self._call.take_up()

    def _speak(self, text: str, ending: Ending | None = None) -> None:
        """Nothing else is being said."""
        self._call.request_answer(AnswerOptions(script=Script(text, ending)))

    # --- the caller's turn

    def caller_acted(self) -> None:
        """They are there."""
        self._silence.caller_acted()

    def turn_begins(self) -> None:
        """The answer to it may have a filler again."""
        self._filled = False

    def may_fill(self) -> bool:
        """Once a turn."""
        may, self._filled = not self._filled, True
        return may

    def orders_silence(self, text: str) -> bool:
        """Is this an order to be silent, and not what the agent says itself?"""
        said = f" {plain(self._call.stage.history.last_answer())} "  # whole words: "stopped" there is no "stop"
        return self._orders.meaning(text) == "stop" and f" {plain(text)} " not in said

    async def script_for(self, turns: Sequence[CallerTurn]) -> Script | None:
        """What the last of `turns` orders in so many words; None where the LLM is to answer. Raises what kept its words
        from being known."""
        if not turns or turns[-1].silent:
            return None
        order = self._orders.meaning((await turns[-1].heard()).text)
        script = None if order is None else self._script(order)
        if script is not None:
            self._call.listener.sure_of_end(turns[-1])
        return script

    def _script(self, order: SpokenOrder) -> Script | None:
        if order == "stop":
            return Script("")
        if order == "goodbye":
            return Script(self._call.stage.options.goodbye, "goodbye")
        last = self._call.stage.history.last_answer()
        return Script(last) if last else None

    # --- silence

    def watch(self) -> None:
        """A window of the caller's audio has passed."""
        call, options = self._call, self._call.stage.options
        detection = call.settings.turn_detection
        ours = detection is not None and detection.create_response
        if isinstance(detection, ServerVad) and detection.idle_timeout_ms is not None:
            ours = False  # the caller's side has said what a silence means
        idle = ours and not self._leaving and call.turn is None and call.state is State.IDLE
        due = self._silence.watch(call.ear.memory.next_sample, idle=idle)
        if due is Due.ASK and options.silence.still_there:
            self._speak(options.silence.still_there)
        elif due is Due.END:
            self._say_goodbye("silence")

    def _say_goodbye(self, ending: Ending) -> None:
        if goodbye := self._call.stage.options.goodbye:
            self._speak(goodbye, ending)
        else:
            self.end(ending)

    def end(self, reason: Ending) -> None:
        """The last word was played: the call ends, unless the caller has something to say to it."""
        self._leaving = True
        self._call.spawn(self._end(reason))

    async def _end(self, reason: Ending) -> None:
        await asyncio.sleep(LAST_WORD_S)
        if self._call.state is State.IDLE:
            log.info("the agent ends the call: %s", reason)
            await self._call.end(reason)
        self._leaving = False
