"""Files that are made once from a model's own, and kept beside them: the same model in a form that is faster."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger("antiphon.models")

WAIT_S = 120.0
"""For another process that is making the same file."""


def derived(path: Path, form: str, make: Callable[[Path], bool]) -> Path | None:
    """`path` in another form, which `make` writes to where it is told; it returns False, having written nothing, where
    there is no such form. Another file is made for another original. None without one, or where nothing can be written
    beside it. Blocking, some seconds the first time. Raises what `make` raises for a file that it cannot read."""
    original = path.stat()
    copy = path.with_name(f"{path.stem}.{form}-{original.st_size}-{original.st_mtime_ns}{path.suffix}")
    if copy.exists():
        return copy
    try:
        with FileLock(copy.with_suffix(".lock"), timeout=WAIT_S):
            return copy if copy.exists() else _made(path, form, copy, make)
    except (OSError, Timeout) as failed:
        log.warning("%s is used as it is, which is slower: %s", path, failed)
        return None


def _made(path: Path, form: str, copy: Path, make: Callable[[Path], bool]) -> Path | None:
    started_s = time.monotonic()
    part = copy.with_suffix(".part")
    try:
        if not make(part):
            return None
        for old in path.parent.glob(f"{path.stem}.{form}-*{path.suffix}"):
            old.unlink()
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    log.info("%s was written as %s in %.1f s", path.name, form, time.monotonic() - started_s)
    return copy
