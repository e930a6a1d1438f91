"""The system as people start it: `antiphon up` in a process of its own, as a helper for tests."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from loadtest.room_ticket import Keys
from serve_app.ports import free_port

ROOT = Path(__file__).parent.parent
ROOMS_OFF = os.environ.get("WITHOUT_ROOMS") == "1"
START_S = 170.0
STOP_S = 30.0


@dataclass(frozen=True)
class System:
    """A running `antiphon up`. `livekit`: the keys of its LiveKit server, where the test brought one."""

    process: "subprocess.Popen[bytes]"
    url: str
    output: Path
    livekit: Keys | None = None

    @property
    def keys(self) -> Keys:
        assert self.livekit is not None, "this system was started without a LiveKit server of the tests"
        return self.livekit

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")


def launch(*words: str, output: Path, **variables: str) -> "subprocess.Popen[bytes]":
    """`antiphon …` from the root of the repository; what it prints goes to `output`."""
    with output.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "serve_app.cli", *words],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
        )


@contextmanager
def running(
    config: str, folder: Path, livekit: Keys | None = None, *, options: Sequence[str] = (), **variables: str
) -> Iterator[System]:
    """The system, ready to answer. What it printed is part of every failure to start. Without `livekit` it starts a
    LiveKit server of its own. `options` are those of `antiphon up`. At the end it gets a Ctrl-C, after which nothing
    of it may be left."""
    port = free_port()
    output = folder / "output"
    words = ["up", config, "--port", str(port), "--log-file", str(folder / "log"), *options]
    if livekit is not None:
        access = {"URL": livekit.url, "API_KEY": livekit.api_key, "API_SECRET": livekit.api_secret}
        variables = {f"LIVEKIT_{name}": text for name, text in access.items()} | variables
    elif ROOMS_OFF:
        words.append("--no-livekit")
    process = launch(*words, output=output, **variables)
    system = System(process, f"http://127.0.0.1:{port}", output, livekit)
    below: list[psutil.Process] = []
    try:
        wait_until_ready(system)
        yield system
        below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    finally:
        process.send_signal(signal.SIGINT)  # SIGTERM would wait for the calls that a failed test has left
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert [each for each in below if each.is_running()] == [], "Ctrl-C leaves no process behind"


def wait_until_ready(system: System) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if system.process.poll() is not None:
            pytest.fail(f"antiphon up ended with {system.process.returncode}:\n{system.said()}")
        with contextlib.suppress(httpx.HTTPError):
            if "ready: open" in system.said() and httpx.get(f"{system.url}/ready", timeout=5.0).status_code == 200:
                return
        time.sleep(0.2)
    pytest.fail(f"antiphon up was not ready in {START_S:g} s:\n{system.said()}")
