"""Speculation that has become wanted: whom that is told, and what it is worth."""

import asyncio
import logging
import random
from statistics import quantiles
from typing import Any

import pytest

from deployments.queue import DeviceQueue
from deployments.urgency import Priority, Urgency
from serve_app.promotion import Promoter
from tests.virtual_time import VirtualLoop, settled


class Handle:
    """A deployment's, as far as it is needed; it stands in for Ray's."""

    def __init__(self, *, fails: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self._fails = fails

    def broadcast(self, *what: Any) -> "Handle":
        self.told.append(what)
        return self

    async def results_async(self, **how: Any) -> list[Any]:
        if self._fails:
            raise RuntimeError("no replica")
        return [1]


async def test_every_deployment_of_the_kind_is_told_and_no_other() -> None:
    llm, another, tts = Handle(), Handle(), Handle()
    handles: dict[str, Any] = {"llm": ("llm", llm), "large": ("llm", another), "tts": ("tts", tts)}
    Promoter(handles).promote("llm", "call_1")
    await settled()
    assert llm.told == another.told == [("promote", "call_1")]
    assert tts.told == []


async def test_a_deployment_that_cannot_be_told_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    Promoter({"tts": ("tts", Handle(fails=True))}).promote("tts", "call_1")  # type: ignore[dict-item]
    with caplog.at_level(logging.WARNING):
        await settled()
    assert "tts could not be told" in caplog.text


# --- what it is worth

TURNS, LOAD = 600, 0.8
WORK_S = 0.15  # of a phrase
LATER_PHRASES = 2


async def waits_s(priority: Priority, *, promoted: bool) -> tuple[list[float], list[float]]:
    """A model that is busy for `LOAD` of the time. Callers pause, and their answer's first phrase is begun with this
    priority; a third of them speak on, the others wait for it .25 to .8 s later, and for two more phrases after it.
    Returns how long they waited for the first phrase, and for each of the others."""
    chance, queue = random.Random(1), DeviceQueue("model", 1, 10_000, 1e6)
    first: list[float] = []
    later: list[float] = []
    now_s = asyncio.get_running_loop().time

    async def make(priority: Priority, call: str) -> None:
        async with queue.place(Urgency(priority, None, call)):
            await asyncio.sleep(WORK_S)

    async def turn(call: str) -> None:
        prepared = asyncio.create_task(make(priority, call))
        await asyncio.sleep(chance.uniform(0.25, 0.8))
        while chance.random() < 1 / 3:
            prepared.cancel()
            await asyncio.sleep(chance.uniform(0.5, 2.0))
            prepared = asyncio.create_task(make(priority, call))
            await asyncio.sleep(chance.uniform(0.25, 0.8))
        began_s = now_s()
        if promoted:
            queue.promote(call)
        await prepared
        first.append(now_s() - began_s)
        for _ in range(LATER_PHRASES):
            began_s = now_s()
            await make(Priority.LATER_PHRASE, call)
            later.append(now_s() - began_s)

    async with asyncio.TaskGroup() as calls:
        for number in range(TURNS):
            calls.create_task(turn(str(number)))
            await asyncio.sleep(chance.expovariate(LOAD / WORK_S / (1.5 + LATER_PHRASES)))
    return first, later


def simulated(priority: Priority, *, promoted: bool = False) -> tuple[float, float]:
    """The 90th percentiles of both."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        first, later = runner.run(waits_s(priority, promoted=promoted))
    return quantiles(first, n=10)[-1], quantiles(later, n=10)[-1]


def test_in_a_simulation_it_serves_first_phrases_soon_and_later_ones_before_what_may_be_of_no_use() -> None:
    """In no real time: always the same figures."""
    unpromoted, _ = simulated(Priority.SPECULATION)
    promoted, later = simulated(Priority.SPECULATION, promoted=True)
    _, later_behind_speculation = simulated(Priority.FIRST_PHRASE)
    assert promoted < unpromoted / 2
    assert later < later_behind_speculation
