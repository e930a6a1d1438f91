"""Processes that end with ours, however ours ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

LAUNCHER = Path(__file__).with_name("with_parent.py")
LAST_BYTES = 65_536
"""The last line is looked for in these: a server that ran for months has written more."""


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


def last_line(output: Path, default: str = "it said nothing", starting: str = "") -> str:
    """The last thing that a process said; the last that starts so, where there is one."""
    try:
        with output.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LAST_BYTES))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return default
    said = [line.strip() for line in lines if line.strip()]
    return next((line for line in reversed(said) if line.startswith(starting)), said[-1] if said else default)
