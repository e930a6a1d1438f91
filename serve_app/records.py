"""Recorded calls as files, JSON lines, one file a call. Nothing here runs where audio does: a thread writes."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from serve_app.call_options import CallOptions
from serve_app.conversation.record import Line, LineRecorder, Recorder
from serve_app.conversation.replay import BadRecord
from serve_app.ear import Ear

log = logging.getLogger("antiphon.ingress")

WRITE_EVERY_S = 0.5
"""What a process that dies takes with it."""
WAITING_LINES = 2000
"""A disk that is behind by this much is behind by minutes: the recording ends."""
LARGEST_BYTES = 4 * 2**20
"""Some hours of a call."""


class RecordFile:
    """`write` is called from the call's loop; `run` writes what came, until `close` and the last line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[Line] = []
        self._left_bytes = LARGEST_BYTES
        self._over = False
        self._closed = asyncio.Event()

    def write(self, line: Line) -> None:
        """Never waits. Beyond the limits nothing more is taken."""
        if not self._over:
            self._waiting.append(line)
            self._over = len(self._waiting) >= WAITING_LINES

    async def run(self) -> None:
        last = False
        while not last:
            with suppress(TimeoutError):
                async with asyncio.timeout(WRITE_EVERY_S):
                    await self._closed.wait()
            last = self._closed.is_set()
            await self._write()

    def close(self) -> None:
        """Nothing more is coming."""
        self._closed.set()

    async def _write(self) -> None:
        lines, self._waiting = self._waiting, []
        try:
            await asyncio.to_thread(self._append, lines)
        except OSError as failed:
            log.warning("the recording of the call ends here: %s", failed)
            self._over = True

    def _append(self, lines: list[Line]) -> None:
        with self._path.open("ab") as file:
            for line in lines:
                text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
                self._left_bytes -= len(text)
                if self._left_bytes < 0:
                    self._over = True
                    return
                file.write(text)


@asynccontextmanager
async def recorded(name: str, ear: Ear, options: CallOptions) -> AsyncIterator[Recorder]:
    """What takes the call down while the block lasts: nothing, unless the settings name a folder."""
    if options.record_dir is None:
        yield Recorder()
        return
    try:
        path = await asyncio.to_thread(_make_room, Path(options.record_dir), name, options.record_calls)
    except OSError as failed:
        log.warning("the call is not recorded: %s", failed)
        yield Recorder()
        return
    file = RecordFile(path)
    writing = asyncio.create_task(file.run())
    try:
        yield LineRecorder(file.write, ear.memory, options.turn_taking, ear.window_samples)
    finally:
        file.close()
        await writing


def _make_room(folder: Path, name: str, most: int) -> Path:
    """The new file's path, when the oldest recordings have given way."""
    folder.mkdir(parents=True, exist_ok=True)
    ages = sorted((path.stat().st_mtime, path) for path in folder.glob("call_*.jsonl"))
    for _, path in ages[: max(0, len(ages) + 1 - most)]:
        path.unlink(missing_ok=True)
    return folder / f"{name}.jsonl"


def read_record(path: Path) -> list[Line]:
    """The lines of a recorded call. Raises BadRecord, or OSError."""
    try:
        return [dict(json.loads(text)) for text in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, TypeError) as wrong:
        raise BadRecord(f"{path} is no recorded call: {wrong}") from wrong
