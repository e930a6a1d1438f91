import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from deployments.errors import CallerGone
from serve_app.conversation.items import MessageItem
from serve_app.conversation.messages import AudioCleared, Event, StateChanged
from serve_app.outbox import AUDIO_LIMIT, EVENT_LIMIT, Outbox
from tests.call_kit import TestLine

ITEM = MessageItem("assistant", "hi", "audio")
PCM = np.zeros(240, np.int16)


class SlowLine(TestLine):
    """Takes what it is sent only while `open`; `order` is what came, as it came."""

    def __init__(self) -> None:
        super().__init__(speed=1.0)
        self.open = asyncio.Event()
        self.open.set()
        self.order: list[object] = []

    async def play(self, pcm: np.ndarray, item: MessageItem) -> None:
        await self.open.wait()
        self.order.append(len(pcm))

    async def send_event(self, event: Event) -> None:
        await self.open.wait()
        self.order.append(event)


@asynccontextmanager
async def sending() -> AsyncIterator[tuple[Outbox, SlowLine]]:
    line = SlowLine()
    outbox = Outbox(line)
    task = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    try:
        yield outbox, line
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_events_and_sound_keep_their_order() -> None:
    async with sending() as (outbox, line):
        outbox.tell(StateChanged("a"))
        await outbox.play(PCM, ITEM)
        outbox.tell(StateChanged("b"))
        await outbox.sent()
        assert line.order == [StateChanged("a"), 240, StateChanged("b")]


async def test_sound_waits_for_room_and_events_do_not() -> None:
    async with sending() as (outbox, line):
        line.open.clear()
        outbox.tell(AudioCleared())
        await asyncio.sleep(0)  # one is being sent
        for _ in range(AUDIO_LIMIT):
            await outbox.play(PCM, ITEM)
        one_more = asyncio.create_task(outbox.play(PCM, ITEM))
        outbox.tell(StateChanged("last"))
        await asyncio.sleep(0.01)
        assert not one_more.done()
        line.open.set()
        await one_more
        await outbox.sent()
        assert line.order.count(240) == AUDIO_LIMIT + 1


async def test_a_side_that_reads_nothing_is_gone() -> None:
    outbox = Outbox(SlowLine())
    for _ in range(EVENT_LIMIT):
        outbox.tell(AudioCleared())
    with pytest.raises(CallerGone):
        outbox.tell(AudioCleared())


async def test_no_sound_is_accepted_while_paused() -> None:
    async with sending() as (outbox, line):
        outbox.pause()
        playing = asyncio.create_task(outbox.play(PCM, ITEM))
        outbox.tell(AudioCleared())
        await outbox.sent()
        assert line.order == [AudioCleared()]
        outbox.resume()
        await playing
        await outbox.sent()
        assert line.order == [AudioCleared(), 240]


async def test_dropping_counts_what_was_not_sent_and_keeps_the_events() -> None:
    async with sending() as (outbox, line):
        line.open.clear()
        outbox.tell(AudioCleared())
        await asyncio.sleep(0)
        for _ in range(AUDIO_LIMIT):
            await outbox.play(PCM, ITEM)
        outbox.tell(StateChanged("kept"))
        assert outbox.drop_sound() == AUDIO_LIMIT * 240
        await outbox.play(PCM, ITEM)  # there is room again
        line.open.set()
        await outbox.sent()
        assert line.order == [AudioCleared(), StateChanged("kept"), 240]


async def test_sound_that_is_dropped_before_anyone_saw_it_breaks_nothing() -> None:
    async with sending() as (outbox, line):
        await outbox.play(PCM, ITEM)
        assert outbox.drop_sound() == 240
        await asyncio.wait_for(outbox.sent(), 5)
        outbox.tell(AudioCleared())
        await outbox.sent()
        assert line.order == [AudioCleared()]
