"""Deadlines of streams."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from deployments.errors import ModelFailed
from serve_app.timely import timely


async def test_a_late_stream_is_closed() -> None:
    closed = []

    async def endless() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            closed.append(True)

    with pytest.raises(ModelFailed, match=r"it stalled for 0\.05 s"):
        assert [item async for item in timely(endless(), "it", 5, 0.05)] == [1]
    assert closed


async def test_a_stream_that_nobody_reads_to_its_end_is_closed() -> None:
    closed = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(True)

    items = timely(numbers(), "it", 5, 5)
    assert await anext(items) == 0
    await items.aclose()
    assert closed
