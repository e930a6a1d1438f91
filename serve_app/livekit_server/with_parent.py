"""`python -I -S with_parent.py PARENT NICENESS COMMAND…`: becomes the command, which dies when its parent dies.

A program of its own, because code between fork and exec is not safe in a process that has threads. Linux ends the
command when the *thread* that started it ends, so that thread must stay as long as the command is wanted. Elsewhere
the command only lives until its parent ends it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    parent, niceness, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != int(parent):
            sys.exit(1)  # it died before we could ask to be told
    os.nice(int(niceness))
    try:
        os.execv(command[0], command)
    except OSError as wrong:
        sys.exit(f"{command[0]}: {wrong.strerror}")


if __name__ == "__main__":
    main()
