"""Waiting for something no longer than what it depends on lasts."""

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any


async def outlast(wanted: Awaitable[object], guards: Collection[asyncio.Future[None]]) -> None:
    """Wait for `wanted`. When a guard ends first, its error is raised instead; one that ends well guards no more."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(wanted)
    watched = set(guards)
    try:
        while not waiting.done():
            ended, _ = await asyncio.wait({waiting, *watched}, return_when=asyncio.FIRST_COMPLETED)
            for guard in watched & ended if not waiting.done() else ():
                guard.result()
            watched -= ended
        waiting.result()
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
