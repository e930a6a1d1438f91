"""How long a replica has worked: what the number of replicas is decided by."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class WorkMeter:
    """Seconds of work, two requests at once counting twice. For one thread: the replica's event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open = 0
        self._busy_s = 0.0
        self._at_s = clock()

    @contextmanager
    def request(self) -> Iterator[None]:
        """One request, from here to the end of the block, however that comes about."""
        self._settle()
        self._open += 1
        try:
            yield
        finally:
            self._settle()
            self._open -= 1

    def busy_s(self) -> float:
        """Since the beginning, the requests under way included."""
        self._settle()
        return self._busy_s

    def _settle(self) -> None:
        now_s = self._clock()
        self._busy_s += self._open * (now_s - self._at_s)
        self._at_s = now_s
