"""A web server that is told to end, and the sockets that it has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

from serve_app.lasting_sockets import let_sockets_last

PATIENCE_S = 10.0


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


@asynccontextmanager
async def ending() -> AsyncIterator[tuple[ClientConnection, "asyncio.Task[None]", str]]:
    """A socket of a server that was told to end, as Serve tells it; what serves; and its address."""
    config = uvicorn.Config(Starlette(routes=[WebSocketRoute("/", echo)]), port=0, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it, nor for its end
        await asyncio.sleep(0.01)
    url = f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    async with connect(url) as socket:
        await socket.send("before")
        assert await socket.recv() == "before"
        server.should_exit = True
        while server.servers[0].is_serving():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        yield socket, serving, url


async def test_a_call_goes_on_and_the_server_waits_for_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AutoWebSocketsProtocol, "shutdown", None)  # put back afterwards
    let_sockets_last()
    async with ending() as (socket, serving, url):
        with pytest.raises(ConnectionRefusedError):
            await connect(url)
        await asyncio.sleep(0.3)
        await socket.send("still here")
        assert await socket.recv() == "still here"
        assert not serving.done()
        await socket.close()
        await asyncio.wait_for(serving, PATIENCE_S)


async def test_without_this_it_would_be_cut() -> None:
    async with ending() as (socket, serving, _):
        with pytest.raises(ConnectionClosedError, match="1012"):
            await asyncio.wait_for(socket.recv(), PATIENCE_S)
        await asyncio.wait_for(serving, PATIENCE_S)
