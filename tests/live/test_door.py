"""Who is let in, and what the others are told."""

from contextlib import AsyncExitStack

import httpx
import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.system import ROOT

DEMO = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
MAX_CALLS = DEMO["applications"][0]["args"]["ingress"]["max_calls"]


def realtime(demo_url: str) -> str:
    return f"{demo_url.replace('http', 'ws', 1)}/v1/realtime?model=antiphon"


async def test_a_browser_that_offers_its_key_as_a_subprotocol_is_let_in(demo_url: str) -> None:
    """As the JavaScript client of OpenAI does; a browser fails the handshake where none of its offers is taken."""
    offers = ["realtime", "openai-insecure-api-key.none"]
    async with connect(realtime(demo_url), subprotocols=offers) as websocket:  # type: ignore[arg-type]
        assert websocket.subprotocol == "realtime"
        assert "session.created" in str(await websocket.recv())


async def test_the_call_too_many_is_refused_with_a_reason_and_the_others_go_on(demo_url: str) -> None:
    async with AsyncExitStack() as calls:
        joined: list[ClientConnection] = []
        for _ in range(MAX_CALLS):
            websocket = await calls.enter_async_context(connect(realtime(demo_url)))
            assert "session.created" in str(await websocket.recv())
            joined.append(websocket)
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{demo_url}/health")).json()["calls"] == MAX_CALLS
        async with connect(realtime(demo_url)) as refused:
            with pytest.raises(ConnectionClosed) as closed:
                await refused.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        assert "at capacity" in closed.value.rcvd.reason
        await joined[0].send('{"type": "input_audio_buffer.clear"}')
        while "input_audio_buffer.cleared" not in str(await joined[0].recv()):
            pass
