"""A caller in a LiveKit room: speaks in real time, listens at once, and records both sides, as `caller` does over the
Realtime socket.

Only the wire: a LiveKit client like any other. Its microphone never stops, as a real one does not.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

import soxr
from livekit import rtc

from loadtest.caller import ANSWER_TIMEOUT_S
from loadtest.exchange import Answer
from loadtest.recording import LIMIT_S, RATE_HZ, Recording
from loadtest.room_exchange import RoomExchange
from loadtest.room_facts import CALL_ID, CHAT, Fact, as_event
from loadtest.room_line import Joining, RoomLine
from loadtest.room_sound import ROOM_FRAME_SAMPLES, ROOM_RATE_HZ, Doubler, Listener, Sender
from loadtest.room_ticket import Ticket
from loadtest.sound import FRAME_SAMPLES, Microphone, Mouth
from loadtest.voiced import Pcm, voiced_span
from loadtest.waiting import outlast
from loadtest.wire import CallFailed, Event, NoAnswer

AGENT_TIMEOUT_S = 20.0
RPC_TIMEOUT_S = 10.0


class RoomCaller:
    """One call. Use it as an async context manager; then `say` or `type`, and `answer`, turn by turn.

    `attributes` are set on the caller once it is in the room (with a ticket of the token endpoint, ask for them there).
    `on_event` sees final transcripts, timelines, states and errors under the names that they have on the Realtime
    socket, `on_fact` all that the agent tells. `microphone` is a person's, instead of silence between what is said. An
    agent that is not Antiphon's is listened to with `any_agent`. With `replacement_s` the call outlives an agent that
    leaves and is replaced within that time. A `bystander` is somebody else's guest: the agent does not listen to it.
    `limit_s` of the call are recorded. One of many on a machine is `frugal` (see `Sender`).
    Raises `CallFailed` and its subclasses, from whatever is awaited when the call fails.
    """

    def __init__(
        self,
        ticket: Ticket,
        *,
        attributes: Mapping[str, str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        agent_timeout_s: float = AGENT_TIMEOUT_S,
        replacement_s: float = 0.0,
        bystander: bool = False,
        microphone: Microphone | None = None,
        on_fact: Callable[[Fact], None] | None = None,
        any_agent: bool = False,
        limit_s: float = LIMIT_S,
        frugal: bool = False,
    ) -> None:
        self.recording = Recording(limit_s)
        self.listener = Listener(self.recording.agent)
        self.exchange = RoomExchange()
        self._ticket, self._attributes = ticket, dict(attributes or {})
        self._on_event = on_event or (lambda event: None)
        self._agent_timeout_s, self._replacement_s = agent_timeout_s, replacement_s
        self._bystander, self._any_agent, self._frugal = bystander, any_agent, frugal
        self._microphone, self._double = microphone, Doubler()
        self._on_fact = on_fact or (lambda fact: None)
        self._mouth = Mouth(ROOM_FRAME_SAMPLES)
        self._sent_frames = 0
        self.said_at = 0  # where in the recording the last `say` begins
        self._next_frame = asyncio.Event()

    # --- lifetime

    async def __aenter__(self) -> Self:
        sender = Sender("microphone", self._frame, frugal=self._frugal)
        self.line = RoomLine(self._ticket, sender, self.listener, self._receive, self._replacement_s, self._any_agent)
        try:
            await self.line.join(self._attributes, self._agent_timeout_s, heard=not self._bystander)
        except BaseException:
            await self.line.leave()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.line.leave()

    @property
    def joining(self) -> Joining:
        return self.line.joining

    @property
    def call_id(self) -> str | None:
        """The name of this call at the server, for its HTTP API."""
        return self.line.agent.attributes.get(CALL_ID) if self.line.agent else None

    # --- what a caller does

    async def say(self, pcm: Pcm) -> None:
        """Speak in real time: int16[n] at 24 kHz. Returns when the last sample was sent. Begins a turn."""
        self.exchange.begin(self.now())
        self.exchange.asking = True
        voiced = voiced_span(pcm, RATE_HZ)
        self.said_at = self._sent_frames * FRAME_SAMPLES
        self.exchange.asked_at = self.said_at + (voiced[1] if voiced else len(pcm))
        self._mouth.say(soxr.resample(pcm, RATE_HZ, ROOM_RATE_HZ))
        await self.while_connected(self._mouth.finished.wait())
        self.exchange.asking = False

    async def type(self, text: str) -> None:
        """A typed turn. It interrupts an answer that is under way."""
        self.exchange.begin(self.now())
        agent, me = self.line.present_agent(), self.line.room.local_participant
        sending = me.send_text(text, topic=CHAT, destination_identities=[agent.identity])
        await self.while_connected(asyncio.wait_for(sending, RPC_TIMEOUT_S))

    async def answer(self, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
        """Wait until the turn is answered and the answer has been heard to its end. Raises `NoAnswer`."""
        exchange = self.exchange
        try:
            async with asyncio.timeout(timeout_s):
                await self.until(lambda: exchange.settled(self.now(), self.listener.loud_until))
        except TimeoutError as late:
            heard, problems = " ".join(exchange.heard.values()), "; ".join(exchange.problems)
            raise NoAnswer(
                f"no complete answer within {timeout_s:g} s; the agent is {exchange.state} and heard {heard!r}"
                + (f" and said: {problems}" if problems else "")
            ) from late
        return self._as_answer()

    async def first_sound(self, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Wait until the answer begins to sound; for callers who interrupt. Raises `NoAnswer`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.until(self._sounding)
        except TimeoutError as late:
            raise NoAnswer(f"no sound within {timeout_s:g} s") from late

    async def stop(self) -> None:
        """The agent is to say no more of this answer."""
        self.exchange.stopped = True
        await self.ask_agent("antiphon.stop")

    async def pause(self) -> None:
        """The agent is to fall silent until `resume`."""
        await self.ask_agent("antiphon.pause")

    async def resume(self) -> None:
        """The agent is to go on where it was paused."""
        await self.ask_agent("antiphon.resume")

    async def ask_agent(self, method: str, payload: str = "") -> str:
        """A remote procedure call to the agent. Returns its answer; raises `CallFailed`."""
        agent, me = self.line.present_agent(), self.line.room.local_participant
        try:
            return await me.perform_rpc(
                destination_identity=agent.identity, method=method, payload=payload, response_timeout=RPC_TIMEOUT_S
            )
        except rtc.RpcError as failed:
            raise CallFailed(f"{method} failed: {failed.message}") from failed

    async def while_connected(self, wanted: Awaitable[object]) -> None:
        """Wait for something, but not longer than the call lasts. Raises `CallFailed` when it ends first."""
        await outlast(wanted, {self.line.lost})

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until it is true; looked at with every frame that is sent. Raises `CallFailed` when the call ends."""
        await self.while_connected(self._frames_until(true))

    def now(self) -> int:
        """Samples of the call's clock, 24,000 a second, from the microphone's first frame."""
        started_s = self.listener.started_s
        return 0 if started_s is None else max(0, round((time.monotonic() - started_s) * RATE_HZ))

    async def stats(self) -> list[rtc.stats.RtcStats]:
        """What the LiveKit library has counted for the agent's track."""
        track = self.line.track
        return list(await asyncio.wait_for(track.get_stats(), RPC_TIMEOUT_S)) if track else []

    # --- the call's sound and messages

    def _frame(self) -> Pcm:
        """The next 20 ms of the microphone, recorded as they are sent: int16[960] at 48 kHz."""
        if self._microphone and self._mouth.finished.is_set():
            recorded = self._microphone.frame()
            frame = self._double(recorded)
        else:
            frame = self._mouth.frame()
            recorded = frame[::2]  # it was made from 24 kHz, so that every second sample is all there is to it
        self.recording.caller.write(self._sent_frames * FRAME_SAMPLES, recorded)
        self._sent_frames += 1
        self._next_frame.set()
        self._next_frame = asyncio.Event()
        return frame

    def _receive(self, fact: Fact) -> None:
        self.exchange.receive(fact, self.now())
        self._on_fact(fact)
        if event := as_event(fact):
            self._on_event(event)

    # --- waiting

    async def _frames_until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._next_frame.wait()

    def _sounding(self) -> bool:
        since = self.exchange.answering_from
        return since is not None and self.listener.loud_until > since

    def _as_answer(self) -> Answer:
        exchange, agent = self.exchange, self.recording.agent
        since = exchange.answering_from or 0
        sound = agent.read(since) if since < agent.end else agent.read(0, 0)
        voiced = voiced_span(sound, RATE_HZ)
        first_ms = _ms(since + voiced[0]) if voiced else None
        return Answer(
            heard=" ".join(exchange.heard.values()).strip(),
            text=" ".join(exchange.text.values()).strip(),
            audio=sound[voiced[0] : voiced[1] + 1] if voiced else sound[:0],
            status=exchange.status,
            reason=exchange.reason,
            timeline=exchange.timeline,
            tool_calls=(),
            problems=tuple(exchange.problems),
            asked_ms=_ms(exchange.asked_at),
            first_arrival_ms=first_ms,  # in a room sound arrives when it is heard
            first_voiced_ms=first_ms,
        )


def _ms(samples: int) -> float:
    return samples * 1000 / RATE_HZ
