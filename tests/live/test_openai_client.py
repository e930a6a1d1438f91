"""The official client against the whole server: a conversation, and what each field of turn_detection changes."""

import asyncio
import base64
import json
from typing import Any

import numpy as np
import pytest

from deployments import tones
from deployments.vad.options import VadOptions
from tests.interjection import INTERJECTION
from tests.live.realtime_caller import RATE_HZ, Caller, calling

WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUICK = {"type": "server_vad", "silence_duration_ms": 400}


async def test_three_turns_with_a_tool_an_interruption_and_a_memory(demo_url: str) -> None:
    async with calling(demo_url) as caller:
        await caller.update(tools=[WEATHER], audio={"input": {"turn_detection": QUICK}})
        await use_a_tool(caller)
        await interrupt(caller)
        since = len(caller.events)
        caller.say("what did i say first")
        async with asyncio.timeout(60):
            answer = await caller.answer(since)
        assert "get weather in bern" in answer.lower()


async def use_a_tool(caller: Caller) -> None:
    since = len(caller.events)
    caller.say("get weather in bern")
    called = await caller.wait("response.function_call_arguments.done", since=since)
    assert called.name == "get_weather"
    assert "bern" in json.loads(called.arguments)["city"]
    await caller.wait("response.done", since=since)
    since = len(caller.events)
    output = {"type": "function_call_output", "call_id": called.call_id, "output": "rain"}
    await caller.connection.conversation.item.create(item=output)  # type: ignore[arg-type]
    await caller.connection.response.create()
    assert "rain" in await caller.answer(since)
    await caller.wait("response.output_audio.delta", since=since)


def played_s(event: Any) -> float:
    """How long the sound in this event lasts."""
    return len(base64.b64decode(event.delta)) / 2 / RATE_HZ if event.type == "response.output_audio.delta" else 0.0


async def interrupt(caller: Caller) -> None:
    # The last answer has played out by now: speaking into it would be another interruption.
    await asyncio.sleep(sum(played_s(event) for event in caller.events))
    await caller.update(max_output_tokens=1000)  # far longer than it takes to interrupt, on a busy machine too
    since = len(caller.events)
    caller.say("count to 200")
    await caller.wait("response.output_audio.delta", since=since)
    caller.say(INTERJECTION)
    done = await caller.wait("response.done", since=since)
    assert (done.response.status, done.response.status_details.reason) == ("cancelled", "turn_detected")
    kinds = caller.kinds(since)
    assert kinds.count("input_audio_buffer.speech_started") == 2
    assert INTERJECTION in await caller.answer(since + kinds.index("response.done") + 1)


def voiced(voice: str) -> Any:
    return {"type": "realtime", "audio": {"output": {"voice": voice}}}


async def test_a_call_can_have_another_voice_whose_model_is_loaded_for_it(demo_url: str) -> None:
    async with calling(demo_url) as caller:
        await caller.connection.session.update(session=voiced("nobody"))
        refused = await caller.wait("error")
        assert refused.error.message == "Unknown voice 'nobody'; known are synthetic, another."
        await caller.connection.session.update(session=voiced("another"))
        await caller.detect(**QUICK)
        since = len(caller.events)
        caller.say("say hello")
        done = await caller.wait("response.done", since=since)
        assert done.response.audio.output.voice == "another"
        assert sum(played_s(event) for event in caller.events[since:]) > 0


# --- turn_detection, field by field


async def test_a_quiet_voice_passes_a_low_threshold_and_no_high_one(demo_url: str) -> None:
    """As loud as the voice detector's limit, where its probability is near the middle."""
    loud = tones.encode("hello hello", RATE_HZ).astype(np.float64) / 32768
    level_dbfs = VadOptions(engine="energy", model=None).quietest_dbfs + 1.5
    gain = 10 ** (level_dbfs / 20) / np.sqrt(np.mean(loud**2))
    heard = []
    for threshold in (0.1, 0.999):
        async with calling(demo_url) as caller:
            await caller.detect(**QUICK, threshold=threshold, create_response=False)
            caller.pause(500)
            caller.say("hello hello", gain=float(gain))
            await asyncio.sleep(4)
            heard.append("input_audio_buffer.speech_started" in caller.kinds())
    assert heard == [True, False]


async def spans(caller: Caller, said: str = "hello") -> tuple[int, int]:
    since = len(caller.events)
    caller.say(said)
    started = await caller.wait("input_audio_buffer.speech_started", since=since)
    stopped = await caller.wait("input_audio_buffer.speech_stopped", since=since)
    return started.audio_start_ms, stopped.audio_end_ms


async def test_prefix_padding_begins_the_audio_earlier(demo_url: str) -> None:
    lengths = []
    for padding_ms in (0, 600):
        async with calling(demo_url) as caller:
            await caller.detect(**QUICK, prefix_padding_ms=padding_ms, create_response=False)
            caller.pause(1000)
            start_ms, end_ms = await spans(caller)
            lengths.append(end_ms - start_ms)
    assert 450 <= lengths[1] - lengths[0] <= 750  # 600, and a window of the voice detector at either end


async def test_a_pause_shorter_than_the_silence_does_not_end_the_turn(demo_url: str) -> None:
    commits = []
    for silence_ms in (300, 1500):
        async with calling(demo_url) as caller:
            await caller.detect(type="server_vad", silence_duration_ms=silence_ms, create_response=False)
            caller.say("one")
            caller.pause(800)
            caller.say("two")
            caller.pause(2000)
            since = len(caller.events)
            await caller.wait("input_audio_buffer.committed", since=since)
            await asyncio.sleep(3)
            commits.append(caller.kinds(since).count("input_audio_buffer.committed"))
    assert commits == [2, 1]


async def test_low_eagerness_waits_longer_than_high(demo_url: str) -> None:
    """After a sentence of which neither the sound nor the words are at an end. The speech is as long both times, the
    rest of the turn is silence."""
    text = "i would like to,"
    speech_ms = 1000 * len(tones.encode(text, RATE_HZ)) / RATE_HZ
    waits_ms = []
    for eagerness in ("high", "low"):
        async with calling(demo_url) as caller:
            await caller.detect(type="semantic_vad", eagerness=eagerness)
            caller.say(text)
            started = await caller.wait("input_audio_buffer.speech_started")
            stopped = await caller.wait("input_audio_buffer.speech_stopped")
            waits_ms.append(stopped.audio_end_ms - started.audio_start_ms - speech_ms)
    assert waits_ms[1] > 1.5 * waits_ms[0] > 0


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
async def test_without_create_response_the_turn_is_committed_and_not_answered(demo_url: str, kind: str) -> None:
    async with calling(demo_url) as caller:
        await caller.detect(type=kind, create_response=False)
        caller.say("hello")
        await caller.wait("input_audio_buffer.committed")
        await asyncio.sleep(1)
        assert "response.created" not in caller.kinds()
        await caller.connection.response.create()
        assert "hello" in await caller.answer()


@pytest.mark.parametrize("kind", ["server_vad", "semantic_vad"])
async def test_without_interrupt_response_the_answer_goes_on(demo_url: str, kind: str) -> None:
    async with calling(demo_url) as caller:
        await caller.detect(type=kind, interrupt_response=False)
        caller.say("count to 20")
        await caller.wait("response.output_audio.delta")
        caller.say(INTERJECTION)
        done: Any = await caller.wait("response.done")
        assert done.response.status == "completed"
        await caller.wait("input_audio_buffer.speech_started", count=2)


async def test_the_idle_timeout_makes_the_agent_speak(demo_url: str) -> None:
    async with calling(demo_url) as caller:
        await caller.detect(**QUICK, idle_timeout_ms=5000)
        caller.say("hello")
        await caller.wait("response.done")
        idle = await caller.wait("input_audio_buffer.timeout_triggered")
        assert 4000 <= idle.audio_end_ms - idle.audio_start_ms <= 7000  # on the clock of the audio, not of the wall
        committed = await caller.wait("input_audio_buffer.committed", count=2)
        assert committed.item_id == idle.item_id
        await caller.wait("response.done", count=2)
