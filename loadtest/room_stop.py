"""How soon the agent is silent when it is told to stop.

From the call of `antiphon.stop` to the last voiced sample at the caller.
"""

import asyncio
import random

from loadtest.recording import RATE_HZ
from loadtest.room_bench import Findings, Target
from loadtest.room_caller import RoomCaller
from loadtest.voiced import voiced_span
from loadtest.wire import CallFailed

QUESTION = "Please count to sixty."
TALKING_S = (0.5, 1.5)  # of the answer that are heard before
SOUND = RATE_HZ // 10  # so much of it must just have been heard: between two phrases there is nothing to stop
A_CALL = 10


async def measure(target: Target, number: int) -> Findings:
    """`number` answers that are stopped, ten to a call."""
    found = Findings("stop", f"Stopping the agent, {number} times")
    found.values = {"stopped_ms": [], "rpc_ms": []}
    for first in range(0, number, A_CALL):
        try:
            async with RoomCaller(await target.ticket()) as caller:
                for _ in range(min(A_CALL, number - first)):
                    await _stop(caller, found)
        except CallFailed as failed:
            found.fail(str(failed))
    return found


async def _stop(caller: RoomCaller, found: Findings) -> None:
    await caller.type(QUESTION)
    await caller.first_sound()
    await asyncio.sleep(random.uniform(*TALKING_S))
    try:
        async with asyncio.timeout(10):
            await caller.until(lambda: caller.listener.loud_until >= caller.now() - SOUND)
    except TimeoutError:
        found.fail("the answer was over before it could be stopped")
        return
    called_at = caller.now()
    await caller.stop()
    rpc_ms = (caller.now() - called_at) * 1000 / RATE_HZ
    await caller.answer()
    since = called_at - RATE_HZ // 2  # enough of the voice before to know it by
    voiced = voiced_span(caller.recording.agent.read(since), RATE_HZ)
    if voiced is None:
        found.fail("no voice was heard before the stop")
        return
    stopped_ms = max(0.0, (since + voiced[1] - called_at) * 1000 / RATE_HZ)
    found.add("stopped_ms", stopped_ms)
    found.add("rpc_ms", rpc_ms)
    print(f"silent after {stopped_ms:6.0f} ms, the call took {rpc_ms:6.1f} ms", flush=True)
