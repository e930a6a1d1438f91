"""Which threads go first."""

import os
import sys
import threading

import pytest

from deployments import priority
from deployments.priority import gently, stand_back

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities for threads")


def niceness(thread: int = 0) -> int:
    return os.getpriority(os.PRIO_PROCESS, thread)


def test_work_stands_back_and_the_threads_that_it_leaves_do_not() -> None:
    own, over = niceness(), threading.Event()
    left = threading.Thread(target=over.wait, daemon=True)

    def work() -> tuple[int, int]:
        left.start()
        assert left.native_id is not None
        return niceness(), niceness(left.native_id)

    try:
        during = gently(7, work)
        assert left.native_id is not None
        assert niceness(left.native_id) == own
        assert niceness() == own
        expected = own + 7 if priority._may_rise(own) else own
        assert during == (expected, expected)
    finally:
        over.set()
        left.join()


def test_what_goes_wrong_in_it_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        gently(7, lambda: 1 // 0)


def test_without_the_right_to_rise_nothing_stands_back(monkeypatch: pytest.MonkeyPatch) -> None:
    own, real = niceness(), os.setpriority

    def refused(which: int, who: int, wanted: int) -> None:
        if wanted <= own:
            raise PermissionError
        real(which, who, wanted)

    monkeypatch.setattr(os, "setpriority", refused)
    assert gently(7, niceness) == own


def test_a_thread_stands_back_alone() -> None:
    own, seen = niceness(), list[int]()

    def aside() -> None:
        stand_back(own + 3)
        seen.append(niceness())

    thread = threading.Thread(target=aside)
    thread.start()
    thread.join()
    assert (seen, niceness()) == ([own + 3], own)
