"""Whether a call's sound flows or is paused, and what stops meanwhile: a paused answer costs no model anything."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Flow:
    """Of one call. Pausing and resuming never wait."""

    def __init__(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._watchers: set[Callable[[], None]] = set()

    @property
    def paused(self) -> bool:
        return not self._flowing.is_set()

    def pause(self) -> None:
        self._flowing.clear()
        for watcher in list(self._watchers):
            watcher()

    def resume(self) -> None:
        self._flowing.set()

    async def flows(self) -> None:
        """Wait while it is paused."""
        await self._flowing.wait()

    @contextmanager
    def watched(self, on_pause: Callable[[], None]) -> Iterator[None]:
        """`on_pause` is called whenever it pauses while the block lasts."""
        self._watchers.add(on_pause)
        try:
            yield
        finally:
            self._watchers.discard(on_pause)


class Brake:
    """Stops the work for one answer while its call is paused, once there is something to hear of it.

    Before that it may work on: most sounds that pause an agent are nothing, and the answer would be late for each. The
    read-ahead of a paused answer is so what was made already, and at most its first sound.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._armed = False
        self._breakable: dict[asyncio.Timeout, Callable[[], bool]] = {}

    def arm(self) -> None:
        """There is something to hear."""
        if not self._armed:
            self._armed = True
            self.check()

    def check(self) -> None:
        """To be called at a pause."""
        if not (self._armed and self._flow.paused):
            return
        now_s = asyncio.get_running_loop().time()
        for scope, worth in list(self._breakable.items()):
            if worth():
                del self._breakable[scope]
                scope.reschedule(now_s)

    async def drive(self, work: Callable[[], Awaitable[T]], worth: Callable[[], bool] = lambda: True) -> T:
        """`work()`, cancelled at a pause, and called again after it to do the rest. Where it is so near its end that
        this is not worth while, `worth` says so."""
        while True:
            if self._armed:
                await self._flow.flows()
            try:
                async with asyncio.timeout(None) as scope:
                    self._breakable[scope] = worth
                    return await work()
            except TimeoutError:
                if not scope.expired():
                    raise
            finally:
                self._breakable.pop(scope, None)
