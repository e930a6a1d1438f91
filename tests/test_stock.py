import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from deployments.contracts import AudioChunk
from deployments.errors import BadRequest, ModelFailed
from deployments.tones import decode
from serve_app.call_options import CallOptions, SilenceOptions
from serve_app.stock import KEPT, Stock
from tests.call_kit import PLAY_RATE_HZ, synthetic_tts

OPTIONS = CallOptions(sorry="sorry", filler="wait", greeting="hi", goodbye="", silence=SilenceOptions(still_there="hi"))
TEXTS = ["sorry", "wait", "hi"]


class Counting:
    """A TTS that notes what it is asked, speaks once `open`, and fails once for each of `ills`."""

    def __init__(self, *ills: Exception) -> None:
        self.asked: list[tuple[str, str | None, float]] = []
        self.open = asyncio.Event()
        self.open.set()
        self._ills = list(ills)

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        self.asked.append((text, voice, speed))
        await self.open.wait()
        if self._ills:
            raise self._ills.pop()
        async for chunk in synthetic_tts().speak(text):
            yield chunk


async def test_each_sentence_is_made_once_for_each_voice_and_speed() -> None:
    stock = Stock(tts := Counting(), OPTIONS)
    assert not stock.has()
    assert stock.sound("hi") == ()
    for _ in range(2):
        await stock.make()
        await stock.make("joe", 1.5)
    assert tts.asked == [(text, *voice) for voice in ((None, 1.0), ("joe", 1.5)) for text in TEXTS]
    assert stock.has()
    assert stock.has("joe", 1.5)
    assert not stock.has("joe")
    assert decode(np.concatenate([chunk.pcm for chunk in stock.sound("wait", "joe", 1.5)]), PLAY_RATE_HZ) == "wait"


async def test_what_is_being_made_is_not_made_again() -> None:
    stock = Stock(tts := Counting(), OPTIONS)
    tts.open.clear()
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(stock.make())
        await asyncio.sleep(0.01)
        tts.open.set()
    assert sorted(tts.asked) == sorted((text, None, 1.0) for text in TEXTS)
    assert stock.has()


async def test_a_maker_who_is_stopped_leaves_it_to_the_next() -> None:
    stock = Stock(tts := Counting(), OPTIONS)
    tts.open.clear()
    making = asyncio.create_task(stock.make())
    await asyncio.sleep(0)
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    tts.open.set()
    await stock.make()
    assert stock.has()


async def test_what_failed_is_tried_again_and_what_is_refused_is_not() -> None:
    stock = Stock(tts := Counting(BadRequest("too long"), ModelFailed("no breath")), OPTIONS)
    with pytest.raises(ModelFailed):
        await stock.make()
    await stock.prepare(None, 1.0)
    assert stock.has()
    assert [bool(stock.sound(text)) for text in TEXTS] == [False, True, True]
    assert [text for text, _, _ in tts.asked] == ["sorry", *TEXTS]


async def test_a_call_can_do_without() -> None:
    await Stock(Counting(ModelFailed("no breath")), OPTIONS).prepare(None, 1.0)


async def test_voices_that_nobody_uses_give_way_and_the_default_one_stays() -> None:
    stock = Stock(Counting(), OPTIONS)
    await stock.make()
    await stock.make("first")
    for number in range(KEPT // len(TEXTS)):
        assert stock.sound("hi", "first")
        await stock.make(f"voice {number}")
    assert stock.has()
    assert stock.sound("hi", "first")
    assert not stock.sound("sorry", "first")
