"""Rooms that LiveKit ends under the agent. In a process of its own: a fault of the native side ends it, in about every
other run where rooms are left to the garbage collector."""

import asyncio
import gc
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest

from loadtest.room_ticket import Keys, fresh
from serve_app.transports.livekit_audio import Metronome, Microphone
from serve_app.transports.livekit_joining import Ticket
from serve_app.transports.livekit_line import RoomLine
from serve_app.transports.livekit_room import LiveKitRoom
from tests.agents_kit import delete

ROOMS = 12
STROKES = 5


async def ended(keys: Keys, room: str) -> None:
    """An agent joins, the room is deleted, the agent leaves."""
    ticket = keys.agent_ticket(room)
    line = RoomLine(Ticket(ticket.url, ticket.token), "call_0123456789ab", "antiphon", Metronome(), "none")
    there = LiveKitRoom(line, return_s=0)
    await line.open(there, Microphone(lambda _: None))
    for _ in range(STROKES):
        line.speaker.strike()
        await asyncio.sleep(0.02)
    await delete(keys, room)
    async with asyncio.timeout(10):
        await there.over.wait()
    await line.close()


async def many(keys: Keys) -> None:
    for _ in range(ROOMS // 4):
        for _ in range(4):
            await ended(keys, fresh("room"))
        gc.collect()


@pytest.mark.timeout(60)
def test_an_agent_outlives_rooms_that_are_deleted(livekit_keys: Keys) -> None:
    own: dict[str, Any] = {"LIVEKIT_URL": livekit_keys.url, "LIVEKIT_API_KEY": livekit_keys.api_key}
    own |= {"LIVEKIT_API_SECRET": livekit_keys.api_secret, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", __name__]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr


if __name__ == "__main__":
    keys = Keys.from_environment()
    assert keys is not None
    with suppress(KeyboardInterrupt):
        asyncio.run(many(keys))
    print("alive")
