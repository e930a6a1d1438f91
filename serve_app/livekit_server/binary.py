"""Where the LiveKit server's program comes from: this machine, the cache, or its source, built once."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from serve_app.livekit_server.building import REPORT_EVERY_S, Abandoned, NoLiveKitServer, build, find_go
from serve_app.supervisor import cache_folder

NAME = "livekit-server"
VERSION = "1.13.5"
WAIT_S = 0.5
SCRATCH = "building-"

Say = Callable[[str], None]


def cached() -> Path:
    """Where a built one is kept."""
    return cache_folder() / "bin" / f"{NAME}-{VERSION}"


def installed() -> Path | None:
    """The one on PATH, else one that was built before; None when there is neither."""
    on_path = shutil.which(NAME)
    if on_path is not None:
        return Path(on_path).absolute()
    return cached() if cached().is_file() else None


def obtain(say: Say, over: threading.Event) -> Path:
    """The program, built where it must be: minutes, with a line to `say` every quarter of one. However many ask on
    this machine, it is built once. Raises NoLiveKitServer with what is missing, Abandoned once `over` is set."""
    if (found := installed()) is not None:
        return found
    kept = cached()
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        lock = _locked(kept.with_name(f"{kept.name}.lock"), say, over)
        try:
            if not kept.is_file():
                _build_into(kept, say, over)
            return kept
        finally:
            lock.release()
    except OSError as broken:  # a full disk, somebody else's folder
        raise NoLiveKitServer(f"none can be built in {kept.parent}: {broken.strerror or broken}") from broken


def _locked(path: Path, say: Say, over: threading.Event) -> FileLock:
    lock = FileLock(path, thread_local=False)
    began_s = time.monotonic()
    next_s = 0.0
    while True:
        try:
            lock.acquire(timeout=WAIT_S)
            return lock
        except Timeout:
            if over.is_set():
                raise Abandoned from None
            passed_s = time.monotonic() - began_s
            if passed_s >= next_s:
                say("the LiveKit server is being built by another process" + (f": {passed_s:.0f} s" if next_s else ""))
                next_s += REPORT_EVERY_S


def _build_into(kept: Path, say: Say, over: threading.Event) -> None:
    """Only whoever has the lock comes here: what others left behind when they were killed is nobody's."""
    for left in kept.parent.glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=kept.parent, ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        build(find_go(folder, say, over), VERSION, folder, say, over).replace(kept)
    say(f"the LiveKit server is built and kept: {kept}")


__all__ = ["NAME", "VERSION", "Abandoned", "NoLiveKitServer", "cached", "installed", "obtain"]
