"""Processes that end with ours, however ours ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LAUNCHER = Path(__file__).with_name("with_parent.py")


def spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    output: Path,
    *,
    folder: Path | None = None,
    niceness: int = 0,
) -> "subprocess.Popen[bytes]":
    """Start it in a session of its own, deaf to Ctrl-C on the terminal; what it prints is added to `output`.
    It lives no longer than the thread that calls this."""
    with output.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()), str(niceness), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=folder,
            start_new_session=True,
        )


def end(process: "subprocess.Popen[bytes]") -> None:
    """It and all that it started in its session, at once."""
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()


def last_line(output: Path, default: str = "it said nothing") -> str:
    """The last thing that a process said."""
    try:
        lines = output.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return default
    return next((line.strip() for line in reversed(lines) if line.strip()), default)
