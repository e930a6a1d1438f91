"""An agent with nothing behind it: the least that answers a caller in a LiveKit room, for comparison and for tests.

python -m loadtest.room_bare [--echo] [--wait] ROOM…      needs LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET

It waits for 200 ms of silence after a sound, answers with a tone, and says so as Antiphon's agent does, on the same
topics. With --echo it sends back what it hears, frame by frame. Every room's agent runs in this one process; the line
`ready` is printed when all are in their rooms, and Ctrl-C or SIGTERM ends it. With --wait it prints `loaded` first and
enters when a line comes in.
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np
from livekit import rtc

from loadtest.room_facts import AGENT, AGENT_STATE, CALL_ID, CHAT, FINAL, SEGMENT, STATE, TIMELINE, TRANSCRIPTION
from loadtest.room_line import LEAVE_TIMEOUT_S, LINGER_S
from loadtest.room_sound import LOUD_PEAK, ROOM_FRAME_SAMPLES, ROOM_RATE_HZ, STREAM_FRAMES, Sender
from loadtest.room_ticket import AGENT_NAME, Keys, Ticket, fresh
from loadtest.sound import Mouth
from loadtest.voiced import Pcm

SILENCE_S, ANSWER_S, AMPLITUDE = 0.2, 1.0, 8000
TONE_HZ = 450.0  # nine waves to a frame: any length is made at once, and nobody waits for it
WAITING_FRAMES = 10
"""Of an echo: frames that wait longer than 100 ms would only make it later; the oldest are dropped."""


def tone(seconds: float) -> Pcm:
    """int16[n] at 48 kHz, a whole number of frames."""
    samples = np.arange(ROOM_FRAME_SAMPLES)
    frame = (AMPLITUDE * np.sin(2 * np.pi * TONE_HZ * samples / ROOM_RATE_HZ)).astype(np.int16)
    return np.tile(frame, round(seconds * 50))


class BareAgent:
    """One agent in one room. `answer_s` of tone for every sound or text of the caller's."""

    def __init__(self, *, echo: bool = False, answer_s: float = ANSWER_S) -> None:
        self.room = rtc.Room()
        self.call_id = fresh("call")
        self._echo, self._answer_s = echo, answer_s
        self._mouth = Mouth(ROOM_FRAME_SAMPLES)
        self._sender = Sender("agent", self._mouth.frame, dtx=False, frugal=not echo)
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn, self._answering = 0, False
        self._outcome, self._paused = "answered", False
        self._queue: asyncio.Queue[rtc.AudioFrame] = asyncio.Queue(WAITING_FRAMES)

    @asynccontextmanager
    async def run(self, ticket: Ticket, **attributes: str) -> AsyncIterator["BareAgent"]:
        """In the room while the context lasts. `attributes` come on top of those that name it."""
        try:
            self.room.on("track_subscribed", lambda track, publication, participant: self._hear(track, participant))
            self.room.on("disconnected", lambda reason: self._mouth.say(np.zeros(0, np.int16)))
            self.room.register_text_stream_handler(CHAT, lambda reader, sender: self._start(self._read(reader, sender)))
            await self.room.connect(ticket.url, ticket.token)
            me = self.room.local_participant
            for order, handler in self.orders().items():
                me.register_rpc_method(f"antiphon.{order}", handler)
            await me.set_attributes({AGENT: AGENT_NAME, AGENT_STATE: "listening", CALL_ID: self.call_id, **attributes})
            await self._sender.publish(self.room)
            if not self._echo:
                self._start(self._sender.run(asyncio.get_running_loop().time()))
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self.room.isconnected():
                await asyncio.wait_for(self.room.disconnect(), LEAVE_TIMEOUT_S)
            await self._sender.aclose()
            await asyncio.sleep(LINGER_S)

    def orders(self) -> dict[str, Any]:
        """What the caller can ask for."""
        return {"stop": self._stop, "pause": self._acknowledge, "resume": self._acknowledge}

    # --- hearing

    def _hear(self, track: rtc.Track, participant: rtc.RemoteParticipant) -> None:
        if self._echo:
            self._start(self._repeat())
        self._start(self._listen(track, participant.identity))

    async def _listen(self, track: rtc.Track, caller: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=ROOM_RATE_HZ, num_channels=1, capacity=STREAM_FRAMES)
        quiet_s, heard = 0.0, False
        try:
            async for event in stream:
                if self._echo:
                    self._enqueue(event.frame)
                    continue
                loud = int(np.abs(np.frombuffer(event.frame.data, np.int16).astype(np.int32)).max()) >= LOUD_PEAK
                quiet_s = 0.0 if loud else quiet_s + event.frame.duration
                if loud and not heard:
                    await self.tell(STATE, {"state": "hearing"})
                heard = heard or loud
                if heard and quiet_s >= SILENCE_S and not self._answering:
                    heard = False
                    self._begin_answer(caller, "a tone")
        finally:
            await stream.aclose()

    def _enqueue(self, frame: rtc.AudioFrame) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(frame)

    async def _repeat(self) -> None:
        while True:
            await self._sender.send(np.frombuffer((await self._queue.get()).data, np.int16))

    async def _read(self, reader: rtc.TextStreamReader, caller: str) -> None:
        try:
            text = await reader.read_all()
        finally:
            reader.close()
        self._begin_answer(caller, text)

    # --- answering

    def _begin_answer(self, caller: str, heard: str) -> None:
        self._answering = True
        self._start(self.answer(caller, heard))

    async def answer(self, caller: str, heard: str) -> None:
        turn, self._turn, self._outcome = self._turn, self._turn + 1, "answered"
        await self.tell(STATE, {"state": "thinking"})
        await self.write(f"q{turn}", heard, final=True, by=caller)
        await self.tell(STATE, {"state": "speaking"})
        await self.write(f"a{turn}", "ans", final=False)
        self._mouth.say(tone(self._answer_s))
        await self._mouth.finished.wait()
        self._answering = False
        await self.write(f"a{turn}", f"answer {turn}", final=True)
        await self.tell(STATE, {"state": "idle"})
        timeline = {"turn": turn, "outcome": self._outcome, "moments": [], "segments": []}
        await self.tell(TIMELINE, {**timeline, "text": f"turn {turn} {self._outcome}"})

    async def _stop(self, call: rtc.RpcInvocationData) -> str:
        if self._answering:
            self._outcome = "cancelled"
            self._mouth.say(np.zeros(0, np.int16))
        return await self._acknowledge(call)

    async def _acknowledge(self, call: rtc.RpcInvocationData) -> str:
        return json.dumps({"call_id": self.call_id})

    async def tell(self, topic: str, message: Any) -> None:
        await self.room.local_participant.publish_data(json.dumps(message), reliable=True, topic=topic)

    async def write(self, segment_id: str, text: str, *, final: bool, by: str | None = None) -> None:
        """A transcription, of the agent's words or of what it understood."""
        writer = await self.room.local_participant.stream_text(
            topic=TRANSCRIPTION,
            attributes={SEGMENT: segment_id, FINAL: "true" if final else "false"},
            sender_identity=by,
        )
        await writer.write(text)
        await writer.aclose()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def serve(keys: Keys, rooms: Sequence[str], *, echo: bool) -> None:
    """Agents in all these rooms until this process is told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        for room in rooms:
            await stack.enter_async_context(BareAgent(echo=echo).run(keys.agent_ticket(room)))
        print("ready", flush=True)
        await stop.wait()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest.room_bare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("rooms", nargs="+", metavar="ROOM")
    parser.add_argument("--echo", action="store_true", help="send back what is heard, in place of an answer")
    parser.add_argument("--wait", action="store_true", help="print `loaded`, and enter the rooms when a line comes in")
    args = parser.parse_args(argv)
    keys = Keys.from_environment()
    if keys is None:
        print("loadtest.room_bare: set LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET", file=sys.stderr)
        return 2
    if args.wait:
        print("loaded", flush=True)
        sys.stdin.readline()
    asyncio.run(serve(keys, args.rooms, echo=args.echo))
    return 0


if __name__ == "__main__":
    sys.exit(main())
