"""The clock of the synthetic engines: time passes as a stated model says, and no core is used meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from deployments.options import Timing


class Clockwork:
    """Sleeps for as long as work would take. One object belongs to one engine, and so to one replica."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._active = 0

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Everything between first and last item of one request happens inside."""
        self._active += 1
        try:
            yield
        finally:
            self._active -= 1

    @property
    def slowdown(self) -> float:
        """How many times slower than alone each request is now."""
        return max(1.0, self._active / self._timing.concurrency)

    async def first_item(self) -> None:
        await asyncio.sleep(self._timing.first_item_ms / 1000 * self.slowdown)

    async def items(self, count: float = 1.0) -> None:
        await asyncio.sleep(count / self._timing.items_per_s * self.slowdown)
