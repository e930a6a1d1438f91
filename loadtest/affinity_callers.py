"""Callers who talk to a deployment at the same time: what each of their requests found."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

CALLERS, VOICES = 40, 12
PAUSE_S = 0.5
TURNS = 6
"""Of a conversation; then its caller begins another."""
PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Served:
    """One request. `at_s`: of its end, since all began. `first`: of its conversation, when nothing can be found."""

    at_s: float
    took_ms: float
    replica: str
    found: bool
    first: bool = False


Next = Callable[[int, int], tuple[Any, bool]]
"""Of (caller, turn): the response to wait for, and whether it is the first of a conversation."""


async def talk(seconds: float, ask: Next, pause_s: float, seed: int = 1) -> list[Served]:
    """Everybody for so long, with pauses of `pause_s` on average between their requests."""
    served: list[Served] = []
    began = time.monotonic()

    async def caller(number: int) -> None:
        chance, turn = random.Random(seed * 1000 + number), 0
        await asyncio.sleep(chance.random() * pause_s)
        while time.monotonic() - began < seconds:
            asked = time.monotonic()
            response, first = ask(number, turn)
            async with asyncio.timeout(PATIENCE_S):
                replica, found = await response
            now = time.monotonic()
            served.append(Served(now - began, (now - asked) * 1000, replica, found, first))
            turn += 1
            await asyncio.sleep(chance.expovariate(1 / pause_s) if pause_s else 0)

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(caller(number))
    return served


def by_popularity(handle: Any, seed: int = 1) -> Next:
    """A voice for each request: the n-th is asked for 1/n times as often as the first."""
    chance = random.Random(seed)
    names, weights = [f"voice{n}" for n in range(VOICES)], [1 / (n + 1) for n in range(VOICES)]

    def ask(caller: int, turn: int) -> tuple[Any, bool]:
        [voice] = chance.choices(names, weights)
        return handle.options(multiplexed_model_id=voice).speak.remote(voice), False

    return ask


def always(handle: Any, voice: str) -> Next:
    return lambda caller, turn: (handle.options(multiplexed_model_id=voice).speak.remote(voice), False)


def conversations(handle: Any, prefix: str) -> Next:
    """Each caller in one conversation after the other."""

    def ask(caller: int, turn: int) -> tuple[Any, bool]:
        session = f"{prefix}-{caller}-{turn // TURNS}"
        return handle.options(session_id=session).answer.remote(session), turn % TURNS == 0

    return ask


def found_percent(served: Iterable[Served]) -> float:
    """Of the requests that could find something."""
    found = [one.found for one in served if not one.first]
    return round(100 * sum(found) / max(1, len(found)), 2)


def busiest_to_least(served: Sequence[Served], replicas: int, since_s: float = 0.0) -> float | None:
    """Requests at the busiest replica, over those at the least busy one; None where one had none."""
    counts = Counter(one.replica for one in served if one.at_s >= since_s)
    return round(max(counts.values()) / min(counts.values()), 3) if len(counts) == replicas else None
