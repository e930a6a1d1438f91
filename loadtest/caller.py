"""A caller over the OpenAI Realtime WebSocket: speaks in real time, listens at once, and records both sides.

Only the wire: this is a client like any other. Its microphone never stops, as a real one does not: every 20 ms a frame
is sent, of speech or of silence. It plays what it is sent by its own clock, and when the server says that the caller
began to speak it falls silent and reports what had been played (`conversation.item.truncate`), as clients are to do.
Protocol: https://platform.openai.com/docs/guides/realtime-websocket, GA event names.
"""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
from websockets.exceptions import ConnectionClosed

from loadtest.exchange import Answer, Exchange, pcm_of
from loadtest.recording import LIMIT_S, RATE_HZ, Gap, Player, Recording
from loadtest.sound import FRAME_S, FRAME_SAMPLES, Microphone, Mouth, Speaker
from loadtest.voiced import Pcm, voiced_span
from loadtest.waiting import outlast
from loadtest.wire import (
    DEFAULT_URL,
    CallFailed,
    Event,
    NoAnswer,
    connection,
    decode,
    encode,
    realtime_url,
    what_ended,
    why_closed,
)

GREETING_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0


class RealtimeCaller:
    """One call. Use it as an async context manager; then `say` or `type`, and `answer`, turn by turn.

    `session` is merged into the `session.update` that is sent first (none is sent when nothing is set). `on_event` sees
    every event of the server. `microphone` and `speaker` are a person's, instead of silence between what is said.
    `api_key` is for servers that want one. `limit_s` of the call are recorded.
    Raises `CallFailed` and its subclasses, from whatever is awaited when the call fails.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        instructions: str | None = None,
        voice: str | None = None,
        session: Mapping[str, Any] | None = None,
        extensions: Sequence[str] = ("timeline.v1",),
        on_event: Callable[[Event], None] | None = None,
        microphone: Microphone | None = None,
        speaker: Speaker | None = None,
        api_key: str | None = None,
        limit_s: float = LIMIT_S,
    ) -> None:
        self.url = realtime_url(url, extensions)
        self.recording = Recording(limit_s)
        self._settings = _settings(instructions, voice, session)
        self._extensions = extensions
        self._on_event = on_event or (lambda event: None)
        self._microphone, self._speaker = microphone, speaker
        self._api_key = api_key
        self._mouth = Mouth()
        self._player = Player(self.recording.agent)
        self._exchange = Exchange()
        self._being_cut: set[str] = set()  # items whose truncation the server has not confirmed yet
        self._next_frame = asyncio.Event()
        self._stack = AsyncExitStack()
        self._sent_frames = 0
        self._started_s: float | None = None

    # --- lifetime

    async def __aenter__(self) -> Self:
        try:
            self._socket = await self._stack.enter_async_context(connection(self.url, self._api_key))
            await self._greet()
        except BaseException:
            await self._stack.aclose()
            raise
        self._started_s = time.monotonic()
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._speak(self._started_s))]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)  # their errors were raised by `while_connected`
        finally:
            await self._stack.aclose()

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(GREETING_TIMEOUT_S):
                await self._expect("session.created")
                if self._settings:
                    await self.send({"type": "session.update", "session": self._settings})
                    await self._expect("session.updated")
        except TimeoutError as silent:
            raise NoAnswer(f"{self.url} accepted the call and then said nothing") from silent
        except ConnectionClosed as closed:
            raise why_closed(closed) from closed

    async def _expect(self, kind: str) -> None:
        while True:
            event = decode(await self._socket.recv())
            self._on_event(event)
            if event["type"] == kind:
                return
            if event["type"] == "error":
                raise CallFailed(f"the server refuses the session: {event['error'].get('message')}")

    # --- what a caller does

    async def say(self, pcm: Pcm) -> None:
        """Speak in real time: int16[n] at 24 kHz. Returns when the last sample was sent. Begins a turn."""
        first_sample = self._sent_frames * FRAME_SAMPLES
        self._exchange.begin(self.now())
        self._exchange.asking = True
        voiced = voiced_span(pcm, RATE_HZ)
        self._exchange.asked_at = first_sample + (voiced[1] if voiced else len(pcm))
        self._mouth.say(pcm)
        await self.while_connected(self._mouth.finished.wait())
        self._exchange.asking = False

    async def type(self, text: str) -> None:
        """A typed turn. It interrupts an answer that is under way."""
        await self.stop()
        self._exchange.begin(self.now())
        content = [{"type": "input_text", "text": text}]
        message = {"type": "message", "role": "user", "content": content}
        await self.send({"type": "conversation.item.create", "item": message})
        await self.send({"type": "response.create"})

    async def stop(self) -> None:
        """No more of this answer is wanted."""
        last = self._exchange.last
        if last is not None and last.done_at is None:
            await self.send({"type": "response.cancel", "response_id": last.id})
        for cut in self._fall_silent():
            await self.send(cut)

    async def answer(self, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
        """Wait until the turn is answered and the answer has been heard to its end. Raises `NoAnswer`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.until(self._settled)
        except TimeoutError as late:
            heard = " ".join(self._exchange.heard.values())
            problems = "; ".join(self._exchange.problems)
            raise NoAnswer(
                f"no complete answer within {timeout_s:g} s; the server heard {heard!r}"
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

    async def while_connected(self, wanted: Awaitable[object]) -> None:
        """Wait for something, but not longer than the call lasts. Raises `CallFailed` when it ends first."""
        await outlast(wanted, self._tasks)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until it is true; looked at with every frame that is sent. Raises `CallFailed` when the call ends."""
        await self.while_connected(self._frames_until(true))

    async def send(self, event: Event) -> None:
        """Any event of the protocol, for what this class has no word for."""
        try:
            await self._socket.send(encode(event))
        except ConnectionClosed as closed:
            raise why_closed(closed) from closed

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Where an answer fell silent because no more of it had come."""
        return tuple(self._player.gaps)

    async def round_trip_ms(self) -> float:
        """The way to the server and back, by the WebSocket's own ping."""
        pong = await self._socket.ping()
        return 1000 * await asyncio.wait_for(pong, GREETING_TIMEOUT_S)

    # --- the call's two tasks

    async def _speak(self, started_s: float) -> None:
        """A frame every 20 ms. The n-th is sent when its last sample would have been recorded; late ones catch up."""
        while True:
            await asyncio.sleep(started_s + (self._sent_frames + 1) * FRAME_S - time.monotonic())
            frame = self._frame()
            self.recording.caller.write(self._sent_frames * FRAME_SAMPLES, frame)
            self._sent_frames += 1
            audio = base64.b64encode(frame.astype("<i2").tobytes()).decode()
            await self.send({"type": "input_audio_buffer.append", "audio": audio})
            self._next_frame.set()
            self._next_frame = asyncio.Event()

    def _frame(self) -> Pcm:
        silent = self._mouth.finished.is_set()
        return self._microphone.frame() if silent and self._microphone else self._mouth.frame()

    async def _listen(self) -> None:
        try:
            async for message in self._socket:
                await self._receive(decode(message))
            raise what_ended(self._socket.close_code, self._socket.close_reason)
        except ConnectionClosed as closed:
            raise why_closed(closed) from closed

    async def _receive(self, event: Event) -> None:
        self._exchange.receive(event, self.now())
        match event["type"]:
            case "response.output_audio.delta" if event["item_id"] not in self._being_cut:
                self._play(event)
            case "input_audio_buffer.speech_started":
                for cut in self._fall_silent():
                    await self.send(cut)
            case "conversation.item.truncated":
                self._being_cut.discard(event["item_id"])
        self._on_event(event)

    def _play(self, event: Event) -> None:
        pcm = pcm_of(event)
        first_sample = self._player.receive(self.now(), event["item_id"], pcm)
        self._exchange.sounds(event["response_id"], first_sample)
        if self._speaker:
            self._speaker.play(pcm)

    def _fall_silent(self) -> list[Event]:
        """Stop playing; the truncations that tell the server what was heard."""
        cuts = self._player.stop(self.now())
        self._being_cut.update(cut.item_id for cut in cuts)
        if self._speaker:
            self._speaker.stop()
        return [
            {
                "type": "conversation.item.truncate",
                "item_id": cut.item_id,
                "content_index": 0,
                "audio_end_ms": cut.heard_ms,
            }
            for cut in cuts
        ]

    # --- waiting

    def now(self) -> int:
        """Samples of the call's clock, 24,000 a second, from the microphone's first frame."""
        return 0 if self._started_s is None else max(0, round((time.monotonic() - self._started_s) * RATE_HZ))

    async def _frames_until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._next_frame.wait()

    def _settled(self) -> bool:
        return self._exchange.settled(self.now(), self._player.ends_at, "timeline.v1" in self._extensions)

    def _sounding(self) -> bool:
        return (last := self._exchange.last) is not None and last.first_played is not None

    def _as_answer(self) -> Answer:
        exchange, last = self._exchange, self._exchange.last
        assert last is not None  # `settled` waits for it
        return Answer(
            heard=" ".join(exchange.heard.values()).strip(),
            text=" ".join(last.text.values()).strip(),
            audio=np.concatenate([np.zeros(0, np.int16), *last.audio]),
            status=last.status,
            reason=last.reason,
            timeline=exchange.timeline,
            tool_calls=tuple(last.tool_calls),
            problems=tuple(exchange.problems),
            asked_ms=_ms(exchange.asked_at),
            first_arrival_ms=None if last.first_arrival is None else _ms(last.first_arrival),
            first_voiced_ms=self._first_voiced_ms(last.first_played),
        )

    def _first_voiced_ms(self, first_played: int | None) -> float | None:
        if first_played is None:
            return None
        voiced = voiced_span(self.recording.agent.read(first_played), RATE_HZ)
        return _ms(first_played + voiced[0]) if voiced else None


def _ms(samples: int) -> float:
    return samples * 1000 / RATE_HZ


def _settings(instructions: str | None, voice: str | None, session: Mapping[str, Any] | None) -> Event:
    settings: Event = {}
    if instructions is not None:
        settings["instructions"] = instructions
    if voice is not None:
        settings["audio"] = {"output": {"voice": voice}}
    settings |= session or {}
    return {"type": "realtime", **settings} if settings else {}
