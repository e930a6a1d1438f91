"""Callers in a process of their own, as real ones are. Few to a process: the LiveKit library tells every room in it of
every frame of the others. And a process can be killed: the only way for a caller to be lost without having left.

It is told what to do in JSON, a line each: first `{"tickets": [{"url": …, "token": …}], "files": [WAV…], "turns": n}`,
then "go" for the turns; at the end of its input its callers leave. It tells in JSON lines what happens.
"""

import asyncio
import gc
import json
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict
from itertools import cycle
from pathlib import Path
from typing import Any

from livekit.rtc._ffi_client import FfiClient, ffi_event_callback

from loadtest.room_caller import RoomCaller
from loadtest.room_stats import counted
from loadtest.room_ticket import Ticket
from loadtest.voiced import Pcm
from loadtest.wav import read_speech
from loadtest.wire import CallFailed

SPACING_S = 0.25  # a LiveKit server stalls when more join at once
PAUSES_S = (0.3, 1.2)  # before a turn, so that callers do not speak in step
LINE_BYTES = 64 * 1024 * 1024
END_S = 20.0


class CallerProcess:
    """The other end of it: `joined`, `go`, `finished`; then `leave`, or `drop` to be lost."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        assert process.stdin is not None
        assert process.stdout is not None
        self._stdin, self._stdout = process.stdin, process.stdout

    async def joined(self) -> Mapping[str, Any]:
        """Until all its callers are in their rooms. Raises `CallFailed`."""
        return await self._told("joined")

    async def go(self) -> None:
        self._stdin.write(b'"go"\n')
        await self._stdin.drain()

    async def finished(self) -> Mapping[str, Any]:
        """Until all turns are over: `turns` and what was counted, a list over its callers each."""
        return await self._told("finished")

    async def leave(self) -> None:
        """Hang up, and end."""
        with suppress(OSError):
            self._stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_S)
        except TimeoutError:
            self.drop()
            await self._process.wait()

    def drop(self) -> None:
        """As if the network or the machine had failed: nothing is said, nothing is closed."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _told(self, event: str) -> Mapping[str, Any]:
        while line := await self._stdout.readline():
            said: Mapping[str, Any] = json.loads(line)
            if said["event"] == "failed":
                raise CallFailed(str(said["message"]))
            if said["event"] == event:
                return said
        raise CallFailed("a caller's process ended; the lines above say why")


@asynccontextmanager
async def caller_process(
    tickets: Sequence[Ticket], files: Sequence[Path] = (), turns: int = 0
) -> AsyncIterator[CallerProcess]:
    """A `CallerProcess` whose callers are about to join; at the end they have left, or are lost."""
    words = (sys.executable, "-m", "loadtest.room_process")
    async with running(words, tickets, turns, files=[*map(str, files)]) as caller:
        yield caller


@asynccontextmanager
async def running(
    words: Sequence[str], tickets: Sequence[Ticket], turns: int, **speech: object
) -> AsyncIterator[CallerProcess]:
    """A program of callers that is told of its work as this one is; `speech`: what they say, under its own name."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, limit=LINE_BYTES)
    caller = CallerProcess(process)
    try:
        job = {"tickets": [{"url": t.url, "token": t.token} for t in tickets], "turns": turns, **speech}
        assert process.stdin is not None
        process.stdin.write(json.dumps(job).encode() + b"\n")
        await process.stdin.drain()
        yield caller
    finally:
        await caller.leave()


# --- inside


THREAD_SWITCH_S = 0.0005
"""The native side's threads hand over every frame; at Python's 5 ms they would be late for nothing but this program."""


def _keep_logs_native() -> None:
    """The native side hands over each line of its log, about as many as frames, for Python to drop it."""
    FfiClient.instance._ffi_lib.livekit_ffi_initialize(ffi_event_callback, False, b"python", b"")


async def _main() -> None:
    sys.setswitchinterval(THREAD_SWITCH_S)
    _keep_logs_native()
    gc.freeze()  # a full collection of what is there for good takes 50 ms
    lines = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    job = json.loads(await lines.readline())
    sentences = [read_speech(Path(file)) for file in job["files"]]
    async with AsyncExitStack() as stack:
        callers = []
        for ticket in job["tickets"]:
            callers.append(await stack.enter_async_context(RoomCaller(Ticket(**ticket), frugal=True)))
            await asyncio.sleep(SPACING_S)
        _tell("joined", joining=[asdict(caller.joining) for caller in callers])
        if not await lines.readline():
            return
        before = [await counted(caller) for caller in callers]
        turns = await asyncio.gather(*(_turns(caller, sentences, job["turns"]) for caller in callers))
        after = [await counted(caller) for caller in callers]
        sound = [(now - then).as_message() for now, then in zip(after, before, strict=True)]
        _tell("finished", turns=turns, sound=sound)
        await lines.read()


async def _turns(caller: RoomCaller, sentences: Sequence[Pcm], number: int) -> list[dict[str, Any]]:
    """Each turn's figures, or its failure; what ends the call fails the turns that are left."""
    result: list[dict[str, Any]] = []
    for _, sentence in zip(range(number), cycle(sentences), strict=False):
        await asyncio.sleep(random.uniform(*PAUSES_S))
        try:
            await caller.say(sentence)
            answer = await caller.answer()
        except CallFailed as failed:
            result.append({"failed": str(failed)})
            continue
        good = answer.status == "completed" and answer.voice_to_voice_ms is not None
        result.append(
            {"voice_to_voice_ms": answer.voice_to_voice_ms, "heard": answer.heard, "text": answer.text}
            if good
            else {"failed": f"the answer is {answer.status}: {answer.reason}"}
        )
    return result


def _tell(event: str, **more: Any) -> None:
    print(json.dumps({"event": event, **more}), flush=True)


def main() -> int:
    try:
        asyncio.run(_main())
    except CallFailed as failed:
        _tell("failed", message=str(failed))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
