"""Programs of rooms that a benchmark runs beside itself."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from loadtest.room_ticket import Keys
from loadtest.wire import CallFailed

READY_TIMEOUT_S, END_S = 60.0, 20.0


class BareAgents:
    """`loadtest.room_bare` in a process of its own, loaded and not yet in its rooms."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._stdin, self._stdout = process.stdin, process.stdout

    async def enter(self) -> None:
        """Into all rooms. Raises `CallFailed`."""
        self._stdin.write(b"\n")
        await self.said(b"ready")

    async def said(self, word: bytes) -> None:
        try:
            line = await asyncio.wait_for(self._stdout.readline(), READY_TIMEOUT_S)
        except TimeoutError as late:
            raise CallFailed(f"the bare agents were not {word.decode()} after {READY_TIMEOUT_S:g} s") from late
        if line.strip() != word:
            raise CallFailed("the bare agents did not start; the lines above say why")


@asynccontextmanager
async def bare_agents(keys: Keys, rooms: Sequence[str], *, echo: bool) -> AsyncIterator[BareAgents]:
    """One for each of these rooms, which they are yet to `enter`. Raises `CallFailed`."""
    words = [sys.executable, "-m", "loadtest.room_bare", "--wait", *(["--echo"] if echo else []), *rooms]
    variables = {"LIVEKIT_URL": keys.url, "LIVEKIT_API_KEY": keys.api_key, "LIVEKIT_API_SECRET": keys.api_secret}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, env={**os.environ, **variables})
    try:
        agents = BareAgents(process)
        await agents.said(b"loaded")
        yield agents
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), END_S)
            except TimeoutError:
                process.kill()
                await process.wait()
