"""Waiting for something no longer than what it depends on lasts."""

import asyncio
from collections.abc import Awaitable, Collection
from typing import Any


async def outlast(wanted: Awaitable[object], guards: Collection[asyncio.Future[None]]) -> None:
    """Wait for `wanted`. When a guard ends first, its error is raised instead."""
    waiting: asyncio.Future[Any] = asyncio.ensure_future(wanted)
    try:
        await asyncio.wait({waiting, *guards}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            for guard in guards:
                if guard.done():
                    guard.result()
        waiting.result()
    finally:
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
