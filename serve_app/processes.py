"""Processes and what they leave behind. Ray's workers start sessions of their own, so that a process group does not
hold them; on Linux this process adopts its orphaned descendants, and so finds them all as its children."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
POLL_S = 0.05
TRIES, TRY_S = 5, 0.1


def adopt_orphans() -> None:
    """Descendants whose parent dies become children of this process, not of init. Linux only; else nothing happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def let_others_go_first(leader: int, niceness: int) -> None:
    """The session that process `leader` has begun stands back for all others on this machine.

    Linux shares the cores out among sessions first (sched(7), "The autogroup feature"): a thread's own niceness counts
    only among those of its session. Nothing happens elsewhere, and where the feature is off.
    """
    for _ in range(TRIES):
        try:
            Path(f"/proc/{leader}/autogroup").write_text(str(niceness))
        except BlockingIOError:  # one such change is allowed every tenth of a second
            time.sleep(TRY_S)
        except OSError:
            return
        else:
            return


def descendants(root: int) -> list[int]:
    """The ids of all living processes below `root`, without zombies."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for pid, parent in _parents():
        children[parent].append(pid)
    found: list[int] = []
    below = [root]
    while below:
        below = [child for pid in below for child in children[pid]]
        found += below
    return found


def end_descendants(root: int, *, grace_s: float) -> None:
    """SIGTERM to everything below `root`, and SIGKILL to what is still there after `grace_s`."""
    deadline = time.monotonic() + grace_s
    _signal_all(descendants(root), signal.SIGTERM)
    while _reaped_descendants(root) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    while left := _reaped_descendants(root):  # what dies may leave children of its own to us
        _signal_all(left, signal.SIGKILL)
        time.sleep(POLL_S)


def _reaped_descendants(root: int) -> list[int]:
    if root == os.getpid():
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
    return descendants(root)


def _signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _parents() -> list[tuple[int, int]]:
    """(process, its parent) for every living process."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listed.splitlines()]
        return [(int(pid), int(parent)) for pid, parent, state in rows if not state.startswith("Z")]
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit():
                # proc(5): pid (name) state ppid …; a name may hold spaces and brackets.
                state, parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    found.append((int(entry), int(parent)))
    return found
