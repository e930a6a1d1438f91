"""Which of a machine's threads go first. On two cores everything waits for something else; what matters is for what."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def stand_back(niceness: int) -> None:
    """Lower this thread's priority. Only Linux has priorities for threads (setpriority(2), "C library differences")."""
    if sys.platform == "linux" and niceness:
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


def standing_back(niceness: int, work: Callable[[], T]) -> T:
    """`work()`, whose result's own threads stand back: they inherit it from the one that makes them."""
    with ThreadPoolExecutor(1, initializer=stand_back, initargs=(niceness,)) as thread:
        return thread.submit(work).result()
