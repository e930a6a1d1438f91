"""A caller on the demo server who speaks in tones, in real time, through the official client."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import numpy as np
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection

from deployments import tones
from deployments.audio import frames
from deployments.contracts import Pcm

RATE_HZ = 24_000
PATIENCE_S = 30.0  # how long any event may take on a busy machine; no test asserts a time


class Caller:
    """Sends what it is told to say, keeps a silent line between, and keeps every event."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self._arrived = asyncio.Condition()
        self._line: asyncio.Queue[Pcm] = asyncio.Queue(maxsize=6000)  # two minutes of frames

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._speak())

    async def _listen(self) -> None:
        async for event in self.connection:
            async with self._arrived:
                self.events.append(event)
                self._arrived.notify_all()

    async def _speak(self) -> None:
        silence = np.zeros(RATE_HZ // 50, np.int16)
        clock = asyncio.get_running_loop()
        due = clock.time()
        while True:
            frame = silence if self._line.empty() else self._line.get_nowait()
            data = base64.b64encode(frame.tobytes()).decode()
            await self.connection.input_audio_buffer.append(audio=data)
            due += 0.02
            await asyncio.sleep(max(0.0, due - clock.time()))

    def say(self, text: str, *, gain: float = 1.0) -> None:
        self.play((tones.encode(text, RATE_HZ) * gain).astype(np.int16))

    def pause(self, ms: int) -> None:
        self.play(np.zeros(RATE_HZ * ms // 1000, np.int16))

    def play(self, pcm: Pcm) -> None:
        for frame in frames(pcm, RATE_HZ):
            self._line.put_nowait(frame)

    async def update(self, **session: Any) -> None:
        before = len(self.events)
        await self.connection.session.update(session=cast(Any, {"type": "realtime", **session}))
        await self.wait("session.updated", since=before)

    async def detect(self, **turn_detection: Any) -> None:
        await self.update(audio={"input": {"turn_detection": turn_detection}})

    async def wait(self, kind: str, *, since: int = 0, count: int = 1) -> Any:
        """The `count`-th event of this type after the first `since` events."""

        def found() -> list[Any]:
            return [event for event in self.events[since:] if event.type == kind]

        async with asyncio.timeout(PATIENCE_S), self._arrived:
            await self._arrived.wait_for(lambda: len(found()) >= count)
        return found()[count - 1]

    def kinds(self, since: int = 0) -> list[str]:
        return [event.type for event in self.events[since:]]

    async def answer(self, since: int = 0) -> str:
        """The transcript of the next answer that is done."""
        done = await self.wait("response.done", since=since)
        return " ".join(
            part.transcript or "" for item in done.response.output or () for part in getattr(item, "content", ())
        )


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    """Joined, greeted, and with a silent line."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    async with client, client.realtime.connect(model="antiphon") as connection:
        caller = Caller(connection)
        running = asyncio.create_task(caller.run())
        try:
            await caller.wait("session.created")
            yield caller
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
