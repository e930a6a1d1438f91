"""How long sound takes to a server and back, without an agent's thinking: part of the floor of a turn."""

import asyncio
import statistics

from loadtest.caller import RealtimeCaller
from loadtest.chirp import chirp, delay_ms
from loadtest.lines import Target
from loadtest.recording import RATE_HZ
from loadtest.room_caller import RoomCaller
from loadtest.room_helpers import bare_agents
from loadtest.room_ticket import Keys, fresh
from loadtest.wire import CallFailed

NUMBER = 5
STEADY_S = 2.0  # a receiver's buffer takes its size in this time
LISTEN_S = 0.8


async def way_ms(target: Target) -> float | None:
    """Median of a few: over the socket the WebSocket's ping, in a room a chirp and its echo from a bare LiveKit client.
    None where that cannot be had: a room needs its server's keys. Raises CallFailed."""
    if target.transport == "socket":
        return None if target.foreign else await _pings(target)
    return await _echoes(target.way) if target.way else None


async def _pings(target: Target) -> float:
    async with RealtimeCaller(target.url) as caller:
        return statistics.median([await caller.round_trip_ms() for _ in range(NUMBER)])


async def _echoes(keys: Keys) -> float | None:
    room = fresh("echo")
    async with bare_agents(keys, [room], echo=True) as echo:
        await echo.enter()
        async with RoomCaller(keys.ticket(room)) as caller:
            await asyncio.sleep(STEADY_S)
            delays = [await _echo_ms(caller) for _ in range(NUMBER)]
    known = [delay for delay in delays if delay is not None]
    if not known:
        raise CallFailed("no chirp came back from the room")
    return statistics.median(known)


async def _echo_ms(caller: RoomCaller) -> float | None:
    await caller.say(chirp())
    start = caller.said_at
    await caller.until(lambda: caller.listener.ends_at >= start + LISTEN_S * RATE_HZ)
    return delay_ms(chirp(), caller.recording.agent.read(start, start + round(LISTEN_S * RATE_HZ)))
