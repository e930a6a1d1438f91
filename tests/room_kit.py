"""A LiveKit server with bare agents behind a token endpoint: what a caller in rooms needs of Antiphon, without it."""

import asyncio
import http
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from loadtest.room_bare import BareAgent
from loadtest.room_ticket import Keys, fresh

TIMEOUT_S = 30.0


class TicketDesk:
    """`POST /api/livekit/token`: each ticket is for a room with an agent in it. `refusal` is answered in its place."""

    def __init__(self, keys: Keys, agent: Callable[[], BareAgent] = BareAgent) -> None:
        self.refusal: tuple[int, dict[str, Any]] | None = None
        self.requests: list[dict[str, Any]] = []
        self.keys_shown: list[str] = []
        self.agents: list[BareAgent] = []
        self.url = ""
        self._keys, self._agent = keys, agent

    @asynccontextmanager
    async def run(self) -> AsyncIterator["TicketDesk"]:
        async with AsyncExitStack() as self._stack:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            async with server:
                self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
                yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.keys_shown.append(headers.get("authorization", ""))
                status, answer = await self._answer(json.loads(body or b"{}"))
            text = json.dumps(answer).encode()
            phrase = http.HTTPStatus(status).phrase
            writer.write(f"HTTP/1.1 {status} {phrase}\r\nContent-Length: {len(text)}\r\n".encode())
            writer.write(b"Connection: close\r\nRetry-After: 1\r\n\r\n" + text)
            await writer.drain()
        finally:
            writer.close()

    async def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.refusal:
            return self.refusal
        self.requests.append(body)
        room = body.get("room_name") or fresh("room")
        agents = body.get("room_config", {}).get("agents", [{}])
        echo = bool(json.loads(agents[0].get("metadata") or "{}").get("loopback"))
        agent = BareAgent(echo=True) if echo else self._agent()
        self.agents.append(agent)
        await self._stack.enter_async_context(agent.run(self._keys.agent_ticket(room)))
        ticket = self._keys.ticket(room)
        return 201, {"server_url": ticket.url, "participant_token": ticket.token}
