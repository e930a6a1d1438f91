"""One LiveKit server on this machine: its address and keys from the start, its process when the program is there."""

import json
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from serve_app.livekit_server.process import end, last_line, spawn
from serve_app.ports import free_port

START_S = 60.0
POLL_S = 0.1
LOGGING = {
    "level": "info",
    "pion_level": "error",
    # What is left says who came, which job went to which worker, and which found none (also because all were full).
    "component_levels": dict.fromkeys(("api", "pub", "sub", "room", "sfu"), "warn") | {"transport": "error"},
}


class ServerEnded(Exception):
    """It does not run. The message says what it said last."""


class LocalLiveKit:
    """A development server. It can be started, killed and started again: address and keys stay. It ends with the
    thread that started it."""

    def __init__(
        self,
        log: Path,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        keys: tuple[str, str] | None = None,
    ) -> None:
        """`host`: where HTTP and WebSockets are listened to; sound comes over every address of this machine, because
        WebRTC knows no loopback. `port`: a free one where none is given. `keys`: API key and secret; some that nobody
        knows where none are given."""
        self.log = log
        self.host = host
        self.port = port or free_port()
        self.media_port = free_port(besides=[self.port])
        self.api_key, self.api_secret = keys or (f"dev{secrets.token_hex(6)}", secrets.token_hex(32))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """ws://ADDRESS:PORT, from this machine."""
        at = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)
        return f"ws://[{at}]:{self.port}" if ":" in at else f"ws://{at}:{self.port}"

    @property
    def pid(self) -> int | None:
        """Of its process; None while there is none."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, program: Path, over: threading.Event | None = None) -> None:
        """Until it answers, or `over` is set. Raises ServerEnded."""
        if self.pid is not None:
            raise RuntimeError("it runs already")
        self._process = spawn([str(program)], self._environment(), self.log)
        deadline = time.monotonic() + START_S
        while not self.answers():
            if self._process.poll() is not None:
                raise ServerEnded(f"it ended with status {self._process.returncode}: {last_line(self.log)}")
            if time.monotonic() > deadline:
                self.kill()
                raise ServerEnded(f"it did not answer within {START_S:g} s: {last_line(self.log)}")
            if (over or threading.Event()).wait(POLL_S):
                return

    def answers(self) -> bool:
        try:
            answer = httpx.get(self.url.replace("ws", "http", 1), timeout=2.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status once it has ended; None when it still runs after `timeout_s`."""
        if self._process is None:
            raise ServerEnded("it was not started")
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """At once. Asked kindly it would first wait for everybody to leave, and it has nothing to save."""
        if self._process is not None:
            end(self._process)
            self._process.wait()

    def _environment(self) -> dict[str, str]:
        """Its configuration by environment: the secret stands in no file and no list of processes. Every LIVEKIT_…
        variable is a setting of the server as well, and what this machine has set is not meant for this one."""
        others = ("NODE_IP", "UDP_PORT", "REDIS_HOST", "REDIS_PASSWORD")
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith("LIVEKIT_") and name not in others
        }
        return {**kept, "LIVEKIT_CONFIG": json.dumps(self._config())}

    def _config(self) -> Mapping[str, Any]:
        return {
            "port": self.port,
            "bind_addresses": [self.host],
            "rtc": {"tcp_port": self.media_port, "udp_port": self.media_port, "use_external_ip": False},
            "keys": {self.api_key: self.api_secret},
            "room": {"auto_create": True, "empty_timeout": 60, "departure_timeout": 20},
            "logging": LOGGING,
        }
