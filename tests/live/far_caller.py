"""A caller in a process of its own, who types: `python -m tests.live.far_caller URL TOKEN`.

Each line that comes in is typed; the answer goes out as a line of JSON, after one that tells of joining.
"""

import asyncio
import json
import sys
from typing import Any

from loadtest.room_caller import RoomCaller
from loadtest.room_ticket import Ticket
from loadtest.wire import CallFailed

PATIENCE_S = 60.0


async def _main(url: str, token: str) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with RoomCaller(Ticket(url, token), agent_timeout_s=PATIENCE_S, replacement_s=PATIENCE_S) as caller:
        _tell(call_id=caller.call_id)
        while text := (await lines.readline()).decode().strip():
            try:
                await caller.type(text)
                answer = await caller.answer(PATIENCE_S)
                _tell(call_id=caller.call_id, text=answer.text, status=answer.status)
            except CallFailed as failed:
                _tell(failed=str(failed))


def _tell(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
