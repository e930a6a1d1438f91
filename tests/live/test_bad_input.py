"""Every kind of bad input against the whole server: an error that names it, and the call completes a spoken turn."""

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from deployments import tones
from tests.realtime_bad_input import BAD_INPUT, REF, Bad, has_ref
from tests.realtime_kit import check_server_event

RATE_HZ = 24_000
PATIENCE_S = 30.0


async def until(websocket: ClientConnection, kind: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(PATIENCE_S):
        while not events or events[-1]["type"] != kind:
            events.append(json.loads(await websocket.recv()))
            check_server_event(events[-1])
    return events


async def speak_a_turn(websocket: ClientConnection) -> list[dict[str, Any]]:
    """By hand, so that nobody has to wait for silence."""
    audio = base64.b64encode(tones.encode("still there", RATE_HZ).tobytes()).decode()
    manual = {"type": "realtime", "audio": {"input": {"turn_detection": None}}}
    for event in (
        {"type": "session.update", "session": manual},
        {"type": "input_audio_buffer.append", "audio": audio},
        {"type": "input_audio_buffer.commit"},
        {"type": "response.create"},
    ):
        await websocket.send(json.dumps(event))
    return await until(websocket, "response.done")


@pytest.mark.parametrize("bad", BAD_INPUT, ids=lambda bad: bad.name)
async def test_an_error_names_what_was_wrong_and_the_call_goes_on(demo_url: str, bad: Bad) -> None:
    url = f"{demo_url.replace('http', 'ws', 1)}/v1/realtime?model=antiphon"
    async with connect(url, max_size=None) as websocket:
        await until(websocket, "session.created")
        for frame in bad.frames:
            await websocket.send(frame)
        error = (await until(websocket, "error"))[-1]["error"]
        assert error["type"] == "invalid_request_error"
        assert bad.named in f"{error['message']} {error['param']}"
        assert bad.code in (None, error["code"])
        assert error["event_id"] == (REF if has_ref(bad) else None)
        events = await speak_a_turn(websocket)
        assert "error" not in [event["type"] for event in events]
        (item,) = events[-1]["response"]["output"]
        assert "still there" in item["content"][0]["transcript"]
