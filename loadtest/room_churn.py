"""Calls that come and go: does the host of calls become what it was, or does something stay behind?"""

import asyncio
import time
from dataclasses import asdict
from typing import Any

import httpx

from loadtest.processes import ingress_processes, usage
from loadtest.room_bench import Findings, Target
from loadtest.room_caller import RoomCaller
from loadtest.room_process import SPACING_S
from loadtest.wire import CallFailed, http_url, is_here

EVERY = 5
GONE_S = 30.0  # the longest wait for the calls that were left to be over at the server
COLUMNS = ("rss_mb", "threads", "files", "tasks", "calls")


async def measure(target: Target, number: int) -> Findings:
    """`number` calls one after the other, a typed turn in each."""
    found = Findings("churn", f"{number} calls in a row")
    print(f"{'calls made':>12}", *(f"{name:>9}" for name in COLUMNS))
    await _call(target, Findings("", ""))  # what is loaded once, is loaded now
    before = await _look(target, 0, found)
    for made in range(1, number + 1):
        await _call(target, found)
        if made % EVERY == 0 or made == number:
            after = await _look(target, made, found)
    for name in COLUMNS:
        found.facts[f"{name}_before"], found.facts[f"{name}_after"] = before[name], after[name]
    return found


async def _call(target: Target, found: Findings) -> None:
    try:
        async with RoomCaller(await target.ticket()) as caller:
            await caller.type("Hello.")
            await caller.answer()
            found.add("subscribed_ms", caller.joining.track_subscribed_ms)
    except CallFailed as failed:
        found.fail(str(failed))
    await asyncio.sleep(SPACING_S)


async def _look(target: Target, made: int, found: Findings) -> dict[str, Any]:
    """The ingress, when no call is left in it."""
    base = http_url(target.url)
    deadline_s = time.monotonic() + GONE_S
    async with httpx.AsyncClient(trust_env=not is_here(base), timeout=GONE_S) as client:
        health = (await client.get(f"{base}/health")).json()
        while health.get("calls") and time.monotonic() < deadline_s:
            await asyncio.sleep(SPACING_S)
            health = (await client.get(f"{base}/health")).json()
    processes = ingress_processes(target.url)
    if not processes:
        raise CallFailed("no process of Antiphon's ingress is seen on this machine: run this where the server runs")
    row = {**asdict(usage(processes)), "tasks": health.get("tasks"), "calls": health.get("calls")}
    row["rss_mb"] = round(row["rss_mb"], 1)
    if row["calls"]:
        found.fail(f"{row['calls']} calls are left {GONE_S:g} s after the last caller went")
    print(f"{made:>12}", *(f"{row[name]!s:>9}" for name in COLUMNS), flush=True)
    found.details.append({"made": made, **row})
    return row
