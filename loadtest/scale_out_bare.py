"""A bare WebSocket server beside Antiphon: what as many messages cost that nobody does anything with.

python -m loadtest.scale_out_bare     prints the port that it listens at, and runs until its input ends
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from websockets.asyncio.server import ServerConnection, serve

from loadtest.wire import CallFailed

END_S = 10.0


@contextmanager
def bare_server() -> Iterator[tuple[str, int]]:
    """Its address and process id. Raises CallFailed."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-m", __name__], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            if not port:
                raise CallFailed("the bare server did not start; the lines above say why")
            yield f"ws://127.0.0.1:{port}/", process.pid
        finally:
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()


async def _echo(caller: ServerConnection) -> None:
    async for message in caller:
        await caller.send(message)


async def _main() -> None:
    async with serve(_echo, "127.0.0.1", 0, compression=None) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main())
