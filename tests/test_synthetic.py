import asyncio
import time

from deployments.options import Timing
from deployments.synthetic import Clockwork


async def slowdowns(clockwork: Clockwork, requests: int) -> set[float]:
    """What each of so many simultaneous requests sees."""
    barrier = asyncio.Barrier(requests)

    async def one() -> float:
        async with clockwork.request(), barrier:
            seen = clockwork.slowdown
            await barrier.wait()
            return seen

    return set(await asyncio.gather(*(one() for _ in range(requests))))


async def test_twice_the_concurrency_is_twice_as_slow() -> None:
    clockwork = Clockwork(Timing(first_item_ms=20, items_per_s=50, concurrency=2))
    assert await slowdowns(clockwork, 2) == {1.0}
    assert await slowdowns(clockwork, 4) == {2.0}
    assert clockwork.slowdown == 1.0


async def test_first_item_takes_at_least_its_stated_time() -> None:
    clockwork = Clockwork(Timing(first_item_ms=30, items_per_s=50, concurrency=1))
    started = time.monotonic()
    async with clockwork.request():
        await clockwork.first_item()
    assert time.monotonic() - started >= 0.029
