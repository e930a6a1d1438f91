"""A watchdog on one response: one timer, however many items come."""

import asyncio
import math
from collections.abc import Callable

AT_ONCE_S = 0.001
"""Less is not worth another timer, and may be less than the clock can tell."""


class Watch:
    """Calls `give_up` when what is waited for is late. `patience` is asked before: it is told when the wait began, on
    the loop's clock, and for how many seconds the limit is, and says for how many more is to be waited; 0: for none."""

    def __init__(self, give_up: Callable[[], None], patience: Callable[[float, float], float]) -> None:
        self.expired = False
        self.limit_s = math.inf
        self._give_up = give_up
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._began_s: float | None = None

    def limit(self, seconds: float) -> None:
        """What is late, from the next wait on."""
        self.stop()
        self.limit_s = seconds
        self._timer = self._loop.call_later(seconds, self._look)

    def begin(self) -> None:
        """Something is waited for."""
        self._began_s = self._loop.time()

    def end(self) -> float:
        """It came. Seconds that it took."""
        began_s, self._began_s = self._began_s, None
        assert began_s is not None
        return self._loop.time() - began_s

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        now_s = self._loop.time()
        began_s = now_s if self._began_s is None else self._began_s
        left_s = began_s + self.limit_s - now_s
        if left_s < AT_ONCE_S:
            left_s = self._patience(began_s, self.limit_s)
        if left_s < AT_ONCE_S:
            self.expired = True
            self._give_up()
        else:
            self._timer = self._loop.call_later(left_s, self._look)
