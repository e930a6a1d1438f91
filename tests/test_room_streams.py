"""The benchmark's reader of transcriptions, with streams whose pieces arrive in an order that a test chooses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from loadtest.room_facts import FINAL, SEGMENT, STABLE, TRANSCRIPTION, Words
from loadtest.room_streams import TextStreams

ME = "caller"


class AnyRoom:
    """As much of `rtc.Room` as the reader uses."""

    local_participant = SimpleNamespace(identity=ME)

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[Any, str], None]] = {}

    def register_text_stream_handler(self, topic: str, handler: Callable[[Any, str], None]) -> None:
        self.handlers[topic] = handler

    def unregister_text_stream_handler(self, topic: str) -> None:
        del self.handlers[topic]


class Stream:
    """As much of `rtc.TextStreamReader`; None ends it."""

    def __init__(self, segment: str, *, final: bool = False, stable: int | None = None) -> None:
        attributes = {SEGMENT: segment, FINAL: "true" if final else "false"}
        if stable is not None:
            attributes[STABLE] = str(stable)
        self.info = SimpleNamespace(stream_id="stream", attributes=attributes)
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()

    async def __aiter__(self) -> AsyncIterator[str]:
        while (piece := await self.pieces.get()) is not None:
            yield piece

    async def send(self, *pieces: str | None) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)
        for _ in range(10):
            await asyncio.sleep(0)

    def close(self) -> None:
        pass


async def heard(order: Callable[[Callable[[Stream, str], None]], Any]) -> list[Words]:
    """What is told when streams open and grow in this order."""
    room, told = AnyRoom(), list[Words]()
    streams = TextStreams(room, told.append)  # type: ignore[arg-type]
    await order(room.handlers[TRANSCRIPTION])
    await streams.aclose()
    return told


async def test_text_grows_and_is_final_once() -> None:
    async def order(opened: Callable[[Stream, str], None]) -> None:
        growing, whole = Stream("a"), Stream("a", final=True)
        opened(growing, "agent")
        await growing.send("One ", "two", None)
        opened(whole, "agent")
        await whole.send("One", None)

    assert await heard(order) == [
        Words(True, "a", "One ", False),
        Words(True, "a", "One two", False),
        Words(True, "a", "One", True),
    ]


async def test_an_older_stream_that_is_read_later_takes_nothing_back() -> None:
    async def order(opened: Callable[[Stream, str], None]) -> None:
        older, newer, other = Stream("a", stable=0), Stream("a", stable=7), Stream("b", stable=0)
        for stream in (other, older, newer):
            opened(stream, ME)
        await newer.send("what is the", None)
        await older.send("what is", None)
        await other.send("and", None)

    assert await heard(order) == [Words(False, "a", "what is the", False, 7), Words(False, "b", "and", False, 0)]
