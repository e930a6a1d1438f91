"""How a pull is told to people: a small Protocol, and the version that writes log lines."""

import logging
import time
from typing import Protocol

log = logging.getLogger("antiphon.store")


class Progress(Protocol):
    """Told about one model's pull, always from the thread that pulls. Nothing is said where nothing is missing."""

    def started(self, total_bytes: int, label: str, licence: str) -> None:
        """`total_bytes`: the model's files that are missing (a wheel around them may be smaller or larger)."""
        ...

    def advanced(self, count: int) -> None:
        """`count` more of those bytes; negative when a download had to begin again."""
        ...

    def finished(self) -> None:
        """Everything is on disk and verified. A pull that fails raises instead."""
        ...

    def note(self, text: str) -> None:
        """Something that a person who waits would like to know."""
        ...


class LogProgress:
    """Lines in a log: one at most every 10 % and every 5 s."""

    STEP, PAUSE_S = 0.10, 5.0

    def __init__(self) -> None:
        self._label, self._total, self._done = "", 0, 0
        self._told_share, self._told_at, self._began = 0.0, 0.0, 0.0

    def started(self, total_bytes: int, label: str, licence: str) -> None:
        self._label, self._total = label, total_bytes
        self._told_at = self._began = time.monotonic()
        log.info("pulling %s: %s, licence %s", label, megabytes(total_bytes), licence)

    def advanced(self, count: int) -> None:
        self._done += count
        share, now = self._done / max(1, self._total), time.monotonic()
        if share - self._told_share >= self.STEP and now - self._told_at >= self.PAUSE_S:
            self._told_share, self._told_at = share, now
            log.info("pulling %s: %.0f %% of %s", self._label, 100 * share, megabytes(self._total))

    def finished(self) -> None:
        log.info("pulled %s in %.1f s, verified", self._label, time.monotonic() - self._began)

    def note(self, text: str) -> None:
        log.info("%s", text)


class Share:
    """One download's part of a model's progress: its bytes are scaled to the bytes of the files that it brings."""

    def __init__(self, progress: Progress, size_bytes: int) -> None:
        self._progress, self._size, self._told = progress, size_bytes, 0

    def received(self, count: int, total: int | None) -> None:
        """`count` of `total` bytes are here; without a total they are taken as they come."""
        now = self._size * count // total if total else min(count, self._size)
        if now != self._told:
            self._progress.advanced(now - self._told)
            self._told = now

    def complete(self) -> None:
        self.received(1, 1)


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
