"""A server of one's own for a benchmark: `antiphon up`, as a person would start it, and stopped again."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from loadtest.room_ticket import Keys
from loadtest.wire import NobodyThere

START_S, STOP_S = 900.0, 60.0  # the first start may download models, and build a LiveKit server

PORTS = range(20_000, 32_768)

NO_FILLER = {"ANTIPHON_CALL__FILLER": ""}
"""What is timed is the answer: with a filler before it, a slow server would sound quick."""


@contextmanager
def started(config: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """Its address, `http://127.0.0.1:PORT`, when it is ready; it has no rooms. `settings`: more of them, as variables.
    Raises `NobodyThere` when it does not get so far."""
    with _up(config, ["--no-livekit"], settings or {}, rooms=False) as url:
        yield url


@contextmanager
def started_cluster(config: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """The same on several nodes, which are processes of this machine (`failures_cluster`)."""
    port = free_port()
    with _running(["loadtest.failures_cluster", str(config), str(port)], port, settings, rooms=False) as url:
        yield url


@contextmanager
def started_with_rooms(config: Path, keys: Keys | None, settings: Mapping[str, str]) -> Iterator[str]:
    """The same, when rooms can be joined. `keys`: of the LiveKit server that is started with it, whose port on this
    machine is free; None where the settings name a server. `settings`: more of them, as variables."""
    words, variables = [], dict(settings)
    if keys is not None:
        words = ["--livekit-port", keys.url.rpartition(":")[2]]
        variables["ANTIPHON_LIVEKIT__API_KEY"] = keys.api_key
        variables["ANTIPHON_LIVEKIT__API_SECRET"] = keys.api_secret
    with _up(config, words, variables, rooms=True) as url:
        yield url


@contextmanager
def _up(config: Path, words: list[str], variables: Mapping[str, str], *, rooms: bool) -> Iterator[str]:
    port = free_port()
    with _running(["serve_app.cli", "up", str(config), "--port", str(port), *words], port, variables, rooms) as url:
        yield url


@contextmanager
def _running(words: list[str], port: int, variables: Mapping[str, str], rooms: bool) -> Iterator[str]:
    """`python -m WORDS`, which listens on this port."""
    environment = {**NO_FILLER, **os.environ, **variables}
    command = [sys.executable, "-m", *words]
    before = signal.signal(signal.SIGTERM, _end)  # whoever ends this program ends the server, too
    process = subprocess.Popen(command, stdout=sys.stderr, start_new_session=True, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_until_ready(process, url, rooms)
        yield url
    finally:
        _stop(process)
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def readiness(url: str) -> Mapping[str, Any] | None:
    """What the server at this address says of itself when every model behind it can answer; else None."""
    try:
        answer = httpx.get(f"{url}/ready", timeout=5, trust_env=False)
    except httpx.HTTPError:
        return None
    said = json.loads(answer.text) if answer.is_success else None
    return said if isinstance(said, dict) else None


def free_port() -> int:
    """Not one of those that outgoing connections are given: what is started needs seconds before it listens."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str, rooms: bool) -> None:
    deadline = time.monotonic() + START_S
    while (said := readiness(url)) is None or (rooms and said["rooms"]["state"] != "connected"):
        if said is not None and said["rooms"]["state"] == "off":
            raise NobodyThere("`antiphon up` has no rooms; its lines above say why")
        if process.poll() is not None:
            raise NobodyThere(f"the server ended with exit code {process.returncode}; its last lines say why")
        if time.monotonic() > deadline:
            detail = f": {said['rooms']['detail']}" if said else ""
            raise NobodyThere(f"the server was not ready after {START_S:g} s{detail}")
        time.sleep(0.2)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """As Ctrl-C would; what does not end by itself is killed with all that it started."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
