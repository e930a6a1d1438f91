"""For the tests of sessions: what outlives the processes of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cluster.registry import Registry
from cluster.registry_servers import MemoryServer
from serve_app.sessions import Sessions


class Shelf(MemoryServer):
    """What survives the processes of a test."""

    async def close(self) -> None:
        pass


@asynccontextmanager
async def process(shelf: Shelf) -> AsyncIterator[Sessions]:
    registry = Registry(shelf, ttl_s=60.0, timeout_s=1.0)
    await registry.open()
    sessions = Sessions(registry)
    try:
        yield sessions
    finally:
        await sessions.close()
