import time

import numpy as np

from deployments import tones
from deployments.options import Timing
from deployments.tts.options import TtsOptions
from deployments.tts.synthetic import RATE_HZ, SyntheticTts


def engine(first_item_ms: float = 0, items_per_s: float = 1e6) -> SyntheticTts:
    timing = Timing(first_item_ms=first_item_ms, items_per_s=items_per_s)
    return SyntheticTts.load(None, TtsOptions(model="tones", engine="synthetic", timing=timing))


async def test_what_it_says_can_be_decoded() -> None:
    chunks = [chunk async for chunk in engine().speak("Hello, all the world!")]
    assert len(chunks) > 1
    assert {chunk.rate_hz for chunk in chunks} == {RATE_HZ}
    assert tones.decode(np.concatenate([chunk.pcm for chunk in chunks]), RATE_HZ) == "hello, all the world!"


async def test_any_part_of_the_stream_is_a_prefix_of_the_text() -> None:
    heard = np.zeros(0, np.int16)
    async for chunk in engine().speak("hello, all the world!"):
        heard = np.concatenate([heard, chunk.pcm])
        assert "hello, all the world!".startswith(tones.decode(heard, RATE_HZ))


async def test_speed_changes_nothing() -> None:
    slow, fast = [[chunk.pcm async for chunk in engine().speak("again", speed=speed)] for speed in (0.5, 2.0)]
    assert np.array_equal(np.concatenate(slow), np.concatenate(fast))


async def test_nothing_to_say_is_no_chunk() -> None:
    assert [chunk async for chunk in engine().speak(" \n😀")] == []


async def test_an_item_is_a_second_of_audio() -> None:
    started = time.perf_counter()
    seconds = [len(chunk.pcm) / RATE_HZ async for chunk in engine(20, 20).speak("a text of some length, to be sure")]
    assert time.perf_counter() - started >= 0.02 + sum(seconds[1:]) / 20


async def test_its_voice_is_its_model() -> None:
    assert engine().capabilities().voices == ("tones",)
    assert engine().capabilities().rate_hz == RATE_HZ
