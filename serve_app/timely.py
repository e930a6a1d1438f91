"""A deadline for each item of a stream: one that stalls is as bad as one that breaks."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from deployments.errors import ModelFailed

T = TypeVar("T")


async def timely(stream: AsyncGenerator[T, None], what: str, first_s: float, next_s: float) -> AsyncGenerator[T, None]:
    """The items of `stream`; raises ModelFailed when one is late. The stream is closed in any case."""
    limit_s = first_s
    try:
        while True:
            try:
                async with asyncio.timeout(limit_s):
                    item = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as late:
                raise ModelFailed(f"{what} stalled for {limit_s:g} s") from late
            yield item
            limit_s = next_s
    finally:
        await stream.aclose()
