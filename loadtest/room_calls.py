"""Many calls at once: is every turn answered, how soon, how smoothly, and what does a call cost?

Callers live in processes of their own, a few in each; light ones in one program, `light_callers`. Costs are of the
machine's processes while all calls go on, minus those of the same processes before the first call, over the number of
calls. With --bare the same callers talk to `room_bare`, an agent without models, for comparison.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

from loadtest.light_callers import light_callers, obtain
from loadtest.processes import Usage, by_id, ingress_processes, server_processes, usage
from loadtest.room_bench import Findings, Target
from loadtest.room_helpers import BareAgents, bare_agents
from loadtest.room_process import SPACING_S, CallerProcess, caller_process
from loadtest.room_ticket import Ticket, fresh
from loadtest.speech import sentences

A_PROCESS = 4
IDLE_S = 5.0
"""So long is looked at what the processes do without calls."""


async def measure(target: Target, number: int, turns: int, bare: bool, light: bool) -> Findings:
    """`number` calls at once, `turns` turns each. Raises `CallFailed` where light callers cannot be had."""
    program = obtain() if light else None
    kind = "bare_calls" if bare else "calls"
    found = Findings(kind, f"{number} calls at once, {turns} turns each" + (", with a bare agent" if bare else ""))
    files = sentences(target.speech, target.config)
    async with AsyncExitStack() as stack:
        rooms = [fresh("calls") for _ in range(number)]
        agents = await stack.enter_async_context(_bare(target, rooms)) if bare else None
        watched = {"agent": by_id([agents.pid]) if agents else ingress_processes(target.url)}
        if target.keys:
            watched["livekit"] = server_processes(target.keys.url)
        watched = {name: group for name, group in watched.items() if group}  # of those elsewhere nothing is known
        without = await _rates(watched, IDLE_S)  # a ticket calls the agent: before the first one
        if agents:
            await agents.enter()
        tickets = [_bare_ticket(target, room) if bare else await target.ticket() for room in rooms]
        size = number if light else A_PROCESS
        groups = [tickets[first : first + size] for first in range(0, number, size)]
        processes = [
            light_callers(program, group, files, turns) if program else caller_process(group, files, turns)
            for group in groups
        ]
        callers = [await stack.enter_async_context(_joined(process, found)) for process in processes]
        watched["callers"] = by_id([caller.pid for caller in callers])
        reports, during = await _talk(callers, watched)
    for report in reports:
        _read(report, found)
    _costs(found, number, without, during)
    return found


def _bare(target: Target, rooms: Sequence[str]) -> AbstractAsyncContextManager[BareAgents]:
    return bare_agents(target.need_keys("a bare agent"), rooms, echo=False)


def _bare_ticket(target: Target, room: str) -> Ticket:
    return target.need_keys("a bare agent").ticket(room)


@asynccontextmanager
async def _joined(process: AbstractAsyncContextManager[CallerProcess], found: Findings) -> AsyncIterator[CallerProcess]:
    """A caller's process whose callers are in their rooms."""
    async with process as caller:
        for joining in (await caller.joined())["joining"]:
            found.add("subscribed_ms", joining["track_subscribed_ms"])
        await asyncio.sleep(SPACING_S)
        yield caller


async def _talk(
    callers: Sequence[CallerProcess], watched: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]], dict[str, tuple[float, float]]]:
    """All turns of all callers: what they tell, and (cores, MB) of each kind of process meanwhile."""
    before, started_s = {name: usage(group) for name, group in watched.items()}, time.monotonic()
    for caller in callers:
        await caller.go()
    reports = await asyncio.gather(*(caller.finished() for caller in callers), return_exceptions=True)
    after, wall_s = {name: usage(group) for name, group in watched.items()}, time.monotonic() - started_s
    told = [report if not isinstance(report, BaseException) else {"lost": str(report)} for report in reports]
    return told, {name: _rate(before[name], after[name], wall_s) for name in watched}


async def _rates(watched: Mapping[str, Any], wall_s: float) -> dict[str, tuple[float, float]]:
    before = {name: usage(group) for name, group in watched.items()}
    await asyncio.sleep(wall_s)
    return {name: _rate(before[name], usage(group), wall_s) for name, group in watched.items()}


def _rate(before: Usage, after: Usage, wall_s: float) -> tuple[float, float]:
    return (after.cpu_s - before.cpu_s) / wall_s, after.rss_mb


def _read(report: Mapping[str, Any], found: Findings) -> None:
    if "lost" in report:
        found.fail(report["lost"])
        return
    for turn in (turn for turns in report["turns"] for turn in turns):
        if "failed" in turn:
            found.fail(turn["failed"])
        else:
            found.add("voice_to_voice_ms", turn["voice_to_voice_ms"])
    for sound in report["sound"]:
        found.add("frame_late_ms", *sound["late_ms"])
        found.add("frame_step_ms", *sound["step_ms"])
        found.add("packet_jitter_ms", sound["jitter_ms"])
        found.add("receive_buffer_ms", sound["buffered_ms"])
        found.add("concealed_ms_a_call", sound["concealed_ms"])
        found.add("gaps_a_call", sound["gaps"])
    found.details.append({"turns": report["turns"]})


def _costs(
    found: Findings,
    number: int,
    without: Mapping[str, tuple[float, float]],
    during: Mapping[str, tuple[float, float]],
) -> None:
    found.facts["calls"] = number
    found.facts["answered"] = len(found.values.get("voice_to_voice_ms", ()))
    for name, (cores, rss_mb) in during.items():
        cores_idle, rss_mb_idle = without.get(name, (0.0, 0.0))
        found.facts[f"{name}_core_percent_a_call"] = round(100 * (cores - cores_idle) / number, 2)
        found.facts[f"{name}_mb_a_call"] = round((rss_mb - rss_mb_idle) / number, 2)
