"""Starts Ray, Serve and the application as one child, hears how it goes, and leaves nothing of it behind."""

import contextlib
import ctypes
import importlib.util
import json
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cluster.flags import REQUIRED
from serve_app.ports import free_ports
from serve_app.processes import adopt_orphans, descendants, end_descendants, let_others_go_first

STOP_S = 8.0
"""After this long a child that was asked to stop is made to."""
NICENESS = 4
"""How far Ray and the models stand back for what is small and prompt: LiveKit's server, a browser. Without it the sound
of rooms is late by 50 ms, and by 400 at worst, when models work on both of two cores."""


class Supervisor:
    """One child and everything below it. Used as a context: at its end, however it comes, all of it is gone."""

    def __init__(self, log: Path) -> None:
        self._log_path = log
        # Not $TMPDIR, which may be long: HAProxy's sockets lie in it, below a folder with a name of 56 characters,
        # and the path of a socket may have 97.
        self.folder = Path(tempfile.mkdtemp(prefix="antiphon-", dir="/tmp"))
        self.ends = ExitStack()
        """What must end after the child, because the child needs it to the last, and before everything is made to."""
        self._events: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=1000)
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        adopt_orphans()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """The child starts, imports Ray and waits for `go`."""
        log = self._log_path.open("ab")
        self._child = subprocess.Popen(
            [sys.executable, "-m", "serve_app.runner", str(self.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(self.folder),
            start_new_session=True,  # Ctrl-C on the terminal reaches us alone: we decide who stops when
        )
        log.close()
        let_others_go_first(self._child.pid, NICENESS)
        threading.Thread(target=self._listen, args=(self._child,), daemon=True).start()

    def go(
        self,
        config: Mapping[str, Any],
        application: str,
        *,
        dashboard: bool,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """`config`: a Serve config. `variables`: for the application's environment; they may be secrets."""
        order = {"config": config, "application": application, "dashboard": dashboard, "variables": variables or {}}
        self._order(go=True, **order)

    def drain(self) -> None:
        """The ingress takes no more calls. From now on events tell how many are under way: `{"calls": 2}`, at the
        end `{"calls": 0}`; or `{"undrained": why}`, and no more."""
        self._order(drain=True)

    def _order(self, **order: object) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died: `event` says so
            print(json.dumps(order), file=self._child.stdin, flush=True)

    def event(self, timeout_s: float) -> dict[str, Any]:
        """What the child tells next; `{"ended": exit status}` when it is gone, `{}` when there is nothing."""
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return {}

    def _listen(self, child: "subprocess.Popen[str]") -> None:
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                self._events.put(json.loads(line))
        self._events.put({"ended": child.wait()})

    def dismiss(self) -> None:
        """The child is not wanted any more: it stops what it has started, and ends."""
        if self._child is not None:
            assert self._child.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()

    def stop(self) -> None:
        """Everything below this process ends: asked first, then made to. A second Ctrl-C meanwhile makes it at once."""
        try:
            self.dismiss()
            if self._child is not None:
                self._child.wait(STOP_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            pass
        finally:
            with _deaf():
                self.ends.close()
                end_descendants(os.getpid(), grace_s=0.0 if self._child is None else 1.0)
                shutil.rmtree(self.folder, ignore_errors=True)

    def processes(self) -> list[int]:
        """The ids of everything that runs below the child, and its own."""
        return descendants(os.getpid())


@contextmanager
def _deaf() -> Iterator[None]:
    """No signal stops the last cleaning up: it is short."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def environment(folder: Path) -> dict[str, str]:
    """What Ray and Serve are started with. What the user has set already stays, but for what would clash with
    another Antiphon on this machine, and for what the system cannot be without."""
    door = folder / "h"
    door.mkdir(parents=True, exist_ok=True)
    token = folder / "ray-token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    ports = free_ports(4)
    needed = {
        **REQUIRED,
        # Ray listens on this host's own addresses: only who has the token may give it work.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(door / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(door / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(door / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(door),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(door / "server-state"),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports[0]),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports[1]),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports[2]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports[3]),
    }
    chosen = {
        # HAProxy cuts sockets this long after a reload, and each deployment that changes reloads it: the longest call.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "3600",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Engines choose their threads by settings; libraries that would take every core for each replica must not.
        "OMP_NUM_THREADS": "1",
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    inherited = {name: text for name, text in os.environ.items() if name not in ("RAY_ADDRESS", "RAY_AUTH_TOKEN")}
    return chosen | inherited | needed | _bytecode(inherited) | _openmp(folder, inherited)


def _bytecode(inherited: Mapping[str, str]) -> dict[str, str]:
    """A dozen processes import the same thousand modules: compiling them in each takes longer than all the rest.
    Where they are not compiled and nothing may be written beside the sources, the cache keeps the compiled ones."""
    spec = importlib.util.find_spec("ray")
    compiled = spec is not None and spec.cached is not None and Path(spec.cached).exists()
    writable = not inherited.get("PYTHONDONTWRITEBYTECODE") and os.access(Path(os.__file__).parent, os.W_OK)
    if compiled or writable:
        return {}
    kept = inherited.get("PYTHONPYCACHEPREFIX") or str(cache_folder() / "bytecode")
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": kept}


def _openmp(folder: Path, inherited: Mapping[str, str]) -> dict[str, str]:
    """llama.cpp's wheel wants the system's OpenMP library, which a small Linux lacks. Another wheel of ours brings
    the same library under a longer name: it is lent to it."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        brought = next((found for place in sys.path for found in Path(place).glob("*.libs/libgomp-*.so*")), None)
        if brought is not None and sys.platform == "linux":
            (folder / "libgomp.so.1").symlink_to(brought)
            paths = [str(folder), *filter(None, [inherited.get("LD_LIBRARY_PATH")])]
            return {"LD_LIBRARY_PATH": os.pathsep.join(paths)}
    return {}


def cache_folder() -> Path:
    """Where this program keeps what can be made again; XDG base directories."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "antiphon"
