"""One call of a trial of failures, over the socket or in a room: turn after turn, and what its caller noticed."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from loadtest.caller import RealtimeCaller
from loadtest.exchange import Answer
from loadtest.recording import RATE_HZ
from loadtest.room_caller import RoomCaller
from loadtest.room_sound import LOUD_PEAK
from loadtest.room_ticket import request_ticket
from loadtest.sound import FRAME_SAMPLES
from loadtest.voiced import Pcm
from loadtest.wire import NoAnswer

ANSWER_S = 45.0
"""A turn that is not over by then has failed."""

REPLACEMENT_S = 20.0
"""A caller in a room who is without an agent for longer hangs up."""

PATIENCE_S = 3.0
"""A caller to whom a new agent says nothing for so long says it again: what the dead one had heard is lost with it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a turn. `silence_ms`: the longest one that the caller heard. In a room: `struck`: another agent came since the
    turn before; `back_s`: when it could be heard, on the monotonic clock."""

    problem: str | None = None
    silence_ms: float | None = None
    struck: bool | None = None
    back_s: float | None = None


class Line(Protocol):
    async def turn(self, sound: Pcm) -> Outcome:
        """Say it, int16[n] at 24 kHz, and wait for the end of the answer. Raises `CallFailed` when the call ends."""


class SocketLine:
    """Over the Realtime socket."""

    def __init__(self, caller: RealtimeCaller) -> None:
        self._caller = caller

    async def turn(self, sound: Pcm) -> Outcome:
        caller, gaps = self._caller, len(self._caller.gaps)
        await caller.say(sound)
        try:
            answer = await caller.answer(ANSWER_S)
        except NoAnswer as silent:
            return Outcome(str(silent))
        if answer.voice_to_voice_ms is None:
            return Outcome(problem_of(answer) or "an answer without a sound")
        inside_ms = [gap.samples * 1000 / RATE_HZ for gap in caller.gaps[gaps:]]
        return Outcome(problem_of(answer), max(answer.voice_to_voice_ms, *inside_ms, 0.0))


class InRoom:
    """In a LiveKit room. `watch` runs beside the turns."""

    def __init__(self, caller: RoomCaller, patience_s: float) -> None:
        self._caller, self._patience_s = caller, patience_s
        self._call, self._track = caller.call_id, caller.line.track
        self._back_s: float | None = None
        self._back_at = 0  # the same in samples of the call's clock

    async def watch(self) -> None:
        """For as long as the call lasts: when does another agent come?"""
        while True:
            await self._caller.until(self._is_replaced)
            self._back_s, self._back_at = time.monotonic(), self._caller.now()
            self._call, self._track = self._caller.call_id, self._caller.line.track

    def _is_replaced(self) -> bool:
        return self._caller.call_id not in (None, self._call) and self._caller.line.track is not self._track

    async def turn(self, sound: Pcm) -> Outcome:
        await self._caller.say(sound)
        asked_at = self._caller.exchange.asked_at
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await self._answer(sound)
        except (TimeoutError, NoAnswer) as silent:
            return self._outcome(str(silent) or f"no complete answer within {ANSWER_S:g} s", None)
        silence_ms = longest_silence_ms(self._caller.recording.agent.read(asked_at))
        return self._outcome(problem_of(answer) or (None if silence_ms else "an answer without a sound"), silence_ms)

    async def _answer(self, sound: Pcm) -> Answer:
        caller = self._caller
        while True:
            await caller.until(lambda: self._settled() or self._left_alone())
            if self._settled():
                return await caller.answer()
            self._back_at = caller.now()
            await caller.say(sound)

    def _settled(self) -> bool:
        return self._caller.exchange.settled(self._caller.now(), self._caller.listener.loud_until)

    def _left_alone(self) -> bool:
        """Another agent is there, and says nothing."""
        heard_at = max(self._back_at, self._caller.exchange.asked_at, self._caller.listener.loud_until)
        return self._back_s is not None and self._caller.now() - heard_at > self._patience_s * RATE_HZ

    def _outcome(self, problem: str | None, silence_ms: float | None) -> Outcome:
        back_s, self._back_s = self._back_s, None
        return Outcome(problem, silence_ms, struck=back_s is not None, back_s=back_s)


def problem_of(answer: Answer) -> str | None:
    return None if answer.status == "completed" else f"{answer.status}: {answer.reason}"


def longest_silence_ms(agent: Pcm) -> float | None:
    """The longest one before the last loud frame of what the agent said: int16[n] at 24 kHz; None: it said nothing."""
    frames = agent[: len(agent) // FRAME_SAMPLES * FRAME_SAMPLES].astype(np.int32).reshape(-1, FRAME_SAMPLES)
    loud = np.flatnonzero(np.abs(frames).max(axis=1, initial=0) >= LOUD_PEAK)
    if not len(loud):
        return None
    return float(np.diff(loud, prepend=-1).max() - 1) * FRAME_SAMPLES * 1000 / RATE_HZ


@asynccontextmanager
async def over_socket(url: str) -> AsyncIterator[Line]:
    """A call to the server at this address. Raises `CallFailed`."""
    async with RealtimeCaller(url, extensions=()) as caller:
        yield SocketLine(caller)


@asynccontextmanager
async def in_room(url: str, patience_s: float = PATIENCE_S) -> AsyncIterator[Line]:
    """The same in a room, by a ticket of the server's."""
    async with RoomCaller(await request_ticket(url), replacement_s=REPLACEMENT_S) as caller:
        line = InRoom(caller, patience_s)
        watching = asyncio.create_task(line.watch())
        try:
            yield line
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)  # its error is the call's, and was raised by a turn
