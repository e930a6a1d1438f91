"""A small Realtime server for tests of the client side: it hears loudness and answers every turn with one tone."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from loadtest.voiced import Pcm

RATE_HZ = 24_000
SILENCE_S = 0.2


def tone(seconds: float, hz: float = 440.0) -> Pcm:
    """A loud tone: int16[n] at 24 kHz."""
    wave = np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)
    return (wave * 8000).astype(np.int16)


class ScriptedServer:
    """One call: a turn is over after 200 ms of silence; its answer (`answer_s` of tone) is sent all at once."""

    def __init__(self, answer_s: float = 0.4, status: str = "completed") -> None:
        self.answer_s, self.status = answer_s, status
        self.received: list[dict[str, Any]] = []
        self.addressed: list[str] = []
        self.keys_shown: list[str] = []
        self.url = ""

    @asynccontextmanager
    async def run(self) -> AsyncIterator["ScriptedServer"]:
        async with serve(self._call, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            self.url = f"ws://127.0.0.1:{port}"
            yield self

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.received]

    async def _call(self, socket: ServerConnection) -> None:
        self._socket, self._turn, self._quiet_s, self._voiced = socket, 0, 0.0, False
        if request := socket.request:
            self.addressed.append(request.path)
            self.keys_shown += request.headers.get_all("Authorization")
        try:
            await self._send("session.created", session={"type": "realtime"})
            async for message in socket:
                await self._receive(json.loads(message))
        except ConnectionClosed:
            return

    async def _receive(self, event: dict[str, Any]) -> None:
        self.received.append(event)
        match event["type"]:
            case "session.update":
                await self._send("session.updated", session=event["session"])
            case "input_audio_buffer.append":
                await self._hear(np.frombuffer(base64.b64decode(event["audio"]), "<i2"))
            case "conversation.item.truncate":
                await self._send("conversation.item.truncated", **event)
            case "response.create":
                await self._answer("typed")

    async def _hear(self, pcm: Pcm) -> None:
        loud = bool(np.abs(pcm.astype(np.int32)).max(initial=0) > 1000)
        self._quiet_s = 0.0 if loud else self._quiet_s + len(pcm) / RATE_HZ
        if loud and not self._voiced:
            self._voiced = True
            await self._send("input_audio_buffer.speech_started", item_id=f"q{self._turn}", audio_start_ms=0)
        if self._voiced and self._quiet_s >= SILENCE_S:
            self._voiced = False
            await self._send("input_audio_buffer.speech_stopped", item_id=f"q{self._turn}", audio_end_ms=0)
            await self._send("input_audio_buffer.committed", item_id=f"q{self._turn}")
            await self._answer("a tone")

    async def _answer(self, heard: str) -> None:
        turn, self._turn = self._turn, self._turn + 1
        kind = "conversation.item.input_audio_transcription.completed"
        await self._send(kind, item_id=f"q{turn}", content_index=0, transcript=heard)
        part = {"response_id": f"r{turn}", "item_id": f"a{turn}", "output_index": 0, "content_index": 0}
        await self._send("response.created", response={"id": f"r{turn}", "status": "in_progress"})
        for first in range(0, round(self.answer_s * RATE_HZ), 4800):
            pcm = tone(self.answer_s)[first : first + 4800]
            delta = base64.b64encode(pcm.tobytes()).decode()
            await self._send("response.output_audio.delta", **part, delta=delta)
        await self._send("response.output_audio_transcript.delta", **part, delta=f"answer {turn}")
        details = {"type": self.status, "error": {"code": "model_failed"}} if self.status == "failed" else None
        done = {"id": f"r{turn}", "status": self.status, "status_details": details}
        await self._send("response.done", response=done)
        await asyncio.sleep(0.01)
        timeline = {"turn": turn, "moments": [], "segments": [], "text": f"turn {turn} answered"}
        await self._send("antiphon.timeline.v1", timeline=timeline)

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({**fields, "type": kind, "event_id": "e"}))
