"""What the agent's transport adds to the way there and back: its echo beside that of a bare LiveKit client.

Both ways are measured in turns in the same run, by the same caller: a chirp is sent and found again in what comes
back. The server must allow it: `call: {allow_loopback: true}`.
"""

import asyncio
import random
from contextlib import AsyncExitStack

from loadtest.chirp import chirp, delay_ms
from loadtest.recording import RATE_HZ
from loadtest.room_bench import Findings, Target
from loadtest.room_caller import RoomCaller
from loadtest.room_helpers import bare_agents
from loadtest.room_process import SPACING_S
from loadtest.room_ticket import fresh
from loadtest.wire import CallFailed

A_CALL = 8
"""Chirps in one call. Where the two sides' 20 ms grids lie against each other changes only from call to call."""

LISTEN_S = 0.8
STEADY_S = 2.0  # a receiver's buffer takes its size in this time
PHASE_S = (0.0, 0.02)


async def measure(target: Target, number: int) -> Findings:
    """`number` chirps by each way."""
    found = Findings("round_trip", f"There and back, {number} chirps by each way", one_scale=True)
    found.values = {"antiphon_ms": [], "bare_ms": []}
    rooms = [fresh("echo") for _ in range(-(-number // A_CALL))]
    async with bare_agents(target.need_keys("the comparison with a bare client"), rooms, echo=True) as echoes:
        await echoes.enter()
        for index, room in enumerate(rooms):
            await _both(target, room, min(A_CALL, number - index * A_CALL), found)
    if (ours := found.summaries()["antiphon_ms"].p50) and (bare := found.summaries()["bare_ms"].p50):
        found.facts["added_p50_ms"] = round(ours - bare, 1)
    return found


async def _both(target: Target, room: str, number: int, found: Findings) -> None:
    try:
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(RoomCaller(await target.ticket({"loopback": True})))
            await asyncio.sleep(SPACING_S)
            bare = await stack.enter_async_context(RoomCaller(target.need_keys("an echo").ticket(room)))
            await asyncio.sleep(STEADY_S)
            for _ in range(number):
                for name, caller in (("antiphon_ms", ours), ("bare_ms", bare)):
                    await _probe(name, caller, found)
    except CallFailed as failed:
        found.fail(str(failed))


async def _probe(name: str, caller: RoomCaller, found: Findings) -> None:
    await asyncio.sleep(random.uniform(*PHASE_S))
    await caller.say(chirp())
    start = caller.said_at
    await caller.until(lambda: caller.listener.ends_at >= start + LISTEN_S * RATE_HZ)
    delay = delay_ms(chirp(), caller.recording.agent.read(start, start + round(LISTEN_S * RATE_HZ)))
    if delay is None:
        found.fail(f"{name}: a chirp did not come back")
        return
    found.add(name, delay)
    print(f"{name:<14} {delay:6.1f} ms", flush=True)
