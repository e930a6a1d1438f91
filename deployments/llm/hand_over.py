"""From a thread that makes things to the event loop that wants them."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class HandOver(Generic[T]):
    """A bounded queue. When it is full the making thread waits, at most `patience_s`; then it is told to stop."""

    def __init__(self, capacity: int, patience_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[T | None] = asyncio.Queue(capacity + 1)  # the one more is for the end
        self._room = threading.Semaphore(capacity)
        self._patience_s = patience_s
        self._closed = False

    def put(self, item: T) -> bool:
        """From the thread: hand `item` over. False: nobody wants any more, stop."""
        if self._closed or not self._room.acquire(timeout=self._patience_s) or self._closed:
            return False
        self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        return True

    def end(self) -> None:
        """From the event loop, after the thread has ended: no more will come."""
        self._queue.put_nowait(None)

    def close(self) -> None:
        """From the event loop: no more is wanted. The thread learns of it at its next `put`."""
        self._closed = True
        self._room.release()  # it may be waiting for room

    async def items(self) -> AsyncIterator[T]:
        """What was put, in order, until `end`."""
        while (item := await self._queue.get()) is not None:
            self._room.release()
            yield item
