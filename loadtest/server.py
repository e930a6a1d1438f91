"""A server of one's own for a benchmark: `antiphon up`, as a person would start it, and stopped again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from loadtest.wire import NobodyThere

START_S, STOP_S = 600.0, 60.0  # the first start may download models


@contextmanager
def started(config: Path) -> Iterator[str]:
    """Its address, `http://127.0.0.1:PORT`, when it is ready. Raises `NobodyThere` when it does not get so far."""
    port = free_port()
    command = [sys.executable, "-m", "serve_app.cli", "up", str(config), "--port", str(port)]
    process = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, url)
        yield url
    finally:
        _stop(process)


def is_ready(url: str) -> bool:
    """Can every model behind this address answer?"""
    try:
        return httpx.get(f"{url}/ready", timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_S
    while not is_ready(url):
        if process.poll() is not None:
            raise NobodyThere(f"`antiphon up` ended with exit code {process.returncode}; its last lines say why")
        if time.monotonic() > deadline:
            raise NobodyThere(f"`antiphon up` was not ready after {START_S:g} s")
        time.sleep(0.2)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C would; what does not end by itself is killed with all that it started."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
