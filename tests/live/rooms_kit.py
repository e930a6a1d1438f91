"""For the tests of rooms: callers in them, and what the LiveKit server and Antiphon say about them."""

import asyncio
import difflib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
from livekit import api

from deployments import tones
from deployments.contracts import Pcm
from loadtest.exchange import Answer
from loadtest.recording import RATE_HZ
from loadtest.room_caller import RoomCaller
from loadtest.room_ticket import Keys, Ticket, request_ticket
from tests.system import System

PATIENCE_S = 60.0
"""A test that waits longer has failed."""


def keys(system: System) -> Keys:
    """Of the system's LiveKit server."""
    return system.keys


def a_room() -> str:
    return f"room-{uuid4().hex[:12]}"


def said(text: str) -> Pcm:
    """In tones, with silence on both sides: int16[n] at 24 kHz. The silence before is what a microphone sends while
    the room's buffers settle."""
    return np.concatenate([np.zeros(RATE_HZ // 2, np.int16), tones.encode(text, RATE_HZ), np.zeros(2400, np.int16)])


def words(answer: Answer) -> str:
    """What the caller heard, decoded, without what only separates words."""
    return bare(tones.decode(answer.audio, RATE_HZ))


def sounds_like(answer: Answer, text: str) -> bool:
    """On a machine that is too busy the network's buffer runs dry, and a letter may be lost."""
    return difflib.SequenceMatcher(None, words(answer), bare(text)).ratio() > 0.85


def bare(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


@asynccontextmanager
async def in_room(
    system: System, room: str | None = None, *, replacement_s: float = 0.0, **metadata: Any
) -> AsyncIterator[RoomCaller]:
    """A caller with a ticket that was made without Antiphon, which calls the agent."""
    ticket = keys(system).dispatching(room or a_room(), metadata)
    async with RoomCaller(ticket, agent_timeout_s=PATIENCE_S, replacement_s=replacement_s) as caller:
        yield caller


@asynccontextmanager
async def with_ticket(ticket: Ticket, **options: Any) -> AsyncIterator[RoomCaller]:
    async with RoomCaller(ticket, agent_timeout_s=PATIENCE_S, **options) as caller:
        yield caller


async def ticket_of(system: System, **asked: Any) -> Ticket:
    """From the token endpoint."""
    return await request_ticket(system.url, **asked)


async def ask(caller: RoomCaller, text: str) -> Answer:
    """Say it, and hear the answer."""
    await caller.say(said(text))
    return await caller.answer(PATIENCE_S)


async def type_to(caller: RoomCaller, text: str) -> Answer:
    await caller.type(text)
    return await caller.answer(PATIENCE_S)


@asynccontextmanager
async def livekit(system: System) -> AsyncIterator[api.LiveKitAPI]:
    """The server's API."""
    own = system.keys
    url = own.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(url, own.api_key, own.api_secret, failover=False) as service:
        yield service


async def until(true: Callable[[], Awaitable[bool]], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for it; looked at ten times a second."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if await true():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"there was never {what} in {patience_s:g} s")


async def health(system: System) -> Mapping[str, Any]:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer: Mapping[str, Any] = (await client.get(f"{system.url}/health")).json()
        return answer


async def nobody_is_left(system: System) -> None:
    """Every call has ended."""

    async def none() -> bool:
        return bool((await health(system))["calls"] == 0)

    await until(none, "an end of all calls")


async def agents_in(system: System, room: str) -> list[str]:
    """The identities of the agents in a room."""
    async with livekit(system) as service:
        try:
            found = await service.room.list_participants(api.ListParticipantsRequest(room=room))
        except api.ServerError:
            return []
        return [person.identity for person in found.participants if "antiphon.agent" in person.attributes]


def metadata(**values: Any) -> str:
    return json.dumps(values)
