"""Programs that a benchmark runs beside itself: it speaks only the wire, and imports nothing of the server."""

import subprocess
import sys

from loadtest.wire import CallFailed


def run_module(name: str, *words: str, timeout_s: float, given: str = "") -> str:
    """What `python -m NAME WORDS` prints, with `given` as its input; what it complains of goes to the terminal.

    Raises CallFailed where it fails or takes longer than `timeout_s`; then it is killed.
    """
    command = [sys.executable, "-m", name, *words]
    try:
        done = subprocess.run(
            command,
            input=given,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as late:
        raise CallFailed(f"{name} was not done in {timeout_s:g} s and was stopped") from late
    if done.returncode:
        raise CallFailed(f"{name} failed; the lines above say why")
    return done.stdout
