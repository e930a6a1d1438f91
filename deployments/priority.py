"""Which of a machine's threads go first. On two cores everything waits for something else; what matters is for what."""

import os
import sys
import threading
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


def gently(niceness: int, work: Callable[[], T]) -> T:
    """`work()` by a thread that stands back, though the threads that it makes and leaves behind do not.

    They inherit its priority and are given this one's again. Raising one needs a right (RLIMIT_NICE, CAP_SYS_NICE);
    without it, and elsewhere than on Linux, nothing stands back.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0) if sys.platform == "linux" else 0

    def aside() -> T:
        before = _threads()
        stand_back(own + niceness)
        try:
            return work()
        finally:
            for thread in _threads() - before:
                _rise(thread, own)

    if not niceness or not _may_rise(own):
        return work()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(aside).result()


def _may_rise(own: int) -> bool:
    def there_and_back() -> bool:
        stand_back(own + 1)
        return _rise(threading.get_native_id(), own)

    if sys.platform != "linux":
        return False
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(there_and_back).result()


def _rise(thread: int, niceness: int) -> bool:
    try:
        os.setpriority(os.PRIO_PROCESS, thread, niceness)
    except (PermissionError, ProcessLookupError):
        return False
    return True


def _threads() -> set[int]:
    return set(map(int, os.listdir("/proc/self/task")))
