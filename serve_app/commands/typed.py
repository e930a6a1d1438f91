"""Lines typed on standard input, as they come."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator

WAITING_LINES = 1000
"""Lines read ahead of the call; a file piped in waits in the pipe beyond that."""


async def typed_lines() -> AsyncIterator[str]:
    """Each line without its end, empty ones left out; ends with standard input.

    A thread reads, because a terminal, a pipe and a file share no other way; it is a daemon and holds no lock of
    Python's own buffers, so that a program can end while it waits for a key.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue(WAITING_LINES)

    def read() -> None:
        rest = b""
        while data := os.read(sys.stdin.fileno(), 65_536):
            *complete, rest = (rest + data).split(b"\n")
            for line in complete:
                deliver(line.decode(errors="replace"))
        deliver(rest.decode(errors="replace"))
        deliver(None)

    def deliver(line: str | None) -> None:
        try:
            asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
        except RuntimeError:  # the loop is closed: nobody wants lines any more
            sys.exit()

    threading.Thread(target=read, name="typed lines", daemon=True).start()
    while (line := await lines.get()) is not None:
        if line.strip():
            yield line.strip()
