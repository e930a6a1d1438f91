import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import numpy as np
import pytest
from ray.serve.exceptions import BackPressureError

from cluster.circuit import CIRCUITS
from cluster.telemetry import Measure
from deployments.contracts import AudioChunk, Finished, Message, TextDelta, Tool, ToolCall, Usage
from deployments.errors import AtCapacity, BadRequest, ModelFailed
from deployments.urgency import Priority, Urgency, urgent
from serve_app.call_options import FailureOptions
from serve_app.remotes import RemoteAsr, RemoteLlm, RemoteTts, RemoteTurn
from serve_app.remotes.pace import Pace
from serve_app.telemetry import INSTRUMENTS
from tests.call_kit import synthetic_llm
from tests.replicas_kit import DIES, FREEZES, Handle, Replica, Response, Trouble, deployment
from tests.virtual_time import in_virtual_time, settled

QUESTION = (Message("user", "count to 20"),)
ALL = {"session_id": "call_1", "max_tokens": 80, "temperature": 0.0}
HASTE = FailureOptions(least_stall_ms=500, longest_stall_ms=2000)


def llm(*troubles: Trouble | None, engine: Any = None) -> tuple[RemoteLlm, list[Replica]]:
    """One replica for each; the first is asked first."""
    replicas = [Replica(f"llm-{n}", engine or synthetic_llm(), trouble) for n, trouble in enumerate(troubles)]
    return RemoteLlm(deployment("llm", *replicas), HASTE), replicas


async def written(remote: RemoteLlm, messages: Sequence[Message] = QUESTION, **how: Any) -> tuple[str, tuple[str, int]]:
    """The answer's text, how it ended, and of how many tokens."""
    *deltas, end = [item async for item in remote.generate(messages, **{**ALL, **how})]
    assert isinstance(end, Finished)
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)), (
        end.reason,
        end.usage.generated_tokens,
    )


@in_virtual_time
async def test_an_answer_is_as_good_as_without_a_failure_wherever_it_breaks_off() -> None:
    text, end = await written(llm(None)[0])
    assert text.startswith("One two three")
    for error in (DIES, FREEZES, ModelFailed("out of memory")):
        for after in range(0, 21, 4):
            remote, (first, second) = llm(Trouble(error, after), None)
            assert await written(remote) == (text, end)
            assert (len(first.asked), len(second.asked)) == (1, 1)
            assert (first.open, second.open) == (0, 0)


@in_virtual_time
async def test_the_rest_of_an_answer_is_no_longer_than_what_was_left() -> None:
    remote, (_, second) = llm(Trouble(DIES, after=3), None)
    text, end = await written(remote, max_tokens=5)
    assert text == "One two three four five"
    assert end == ("length", 5)
    (prompt,), how = second.asked[0]
    assert prompt[-1] == Message("assistant", "One two three")
    assert how["max_tokens"] == 2


@in_virtual_time
async def test_an_answer_that_broke_off_at_its_limit_is_whole() -> None:
    remote, (_, second) = llm(Trouble(DIES, after=5), None)
    assert await written(remote, max_tokens=5) == ("One two three four five", ("length", 5))
    assert not second.asked


@in_virtual_time
async def test_an_answer_that_goes_on_after_its_beginning_is_gone_on_with_after_both() -> None:
    remote, (_, second) = llm(Trouble(DIES, after=2), None)
    text, _ = await written(remote, [*QUESTION, Message("assistant", "One two")])
    assert text.startswith(" three four five")
    assert second.asked[0][0][0][-1] == Message("assistant", "One two three four")


@in_virtual_time
async def test_a_prompt_is_prepared_by_another_replica() -> None:
    remote, (_, second) = llm(Trouble(DIES), None)
    assert (await written(remote, max_tokens=0))[0] == ""
    assert second.asked[0][1]["max_tokens"] == 0


@in_virtual_time
async def test_a_tool_call_that_came_is_complete() -> None:
    remote, (_, second) = llm(Trouble(DIES, after=1), None)
    items = [
        item
        async for item in remote.generate([Message("user", "get weather")], **ALL, tools=[Tool("get_weather")])  # type: ignore[arg-type]
    ]
    assert isinstance(items[0], ToolCall)
    assert items[1:] == [Finished("tool_calls", Usage())]
    assert not second.asked


@in_virtual_time
async def test_a_third_attempt_is_not_made() -> None:
    remote, replicas = llm(Trouble(DIES, after=1), Trouble(DIES, after=1), None)
    with pytest.raises(ModelFailed, match="a replica of llm died"):
        await written(remote)
    assert [len(each.asked) for each in replicas] == [1, 1, 0]


@in_virtual_time
async def test_a_refusal_that_serve_repeats_where_it_is_cancelled_is_told_once() -> None:
    class Refused(Response):
        def cancel(self) -> None:
            raise BackPressureError(1, 1)

    class Full(Handle):
        def remote(self, *args: Any, **how: Any) -> Response:
            return Refused(self.replicas[0], getattr(self.replicas[0].engine, self.method), args, how)

    replica = Replica("llm-0", synthetic_llm(), Trouble(BackPressureError(1, 1)))
    full: Any = Full("llm", [replica])
    with pytest.raises(AtCapacity, match="too many requests waiting"):
        await written(RemoteLlm(full))
    with pytest.raises(AtCapacity, match="too many requests waiting"):
        await RemoteLlm(full).sentence_end(QUESTION, session_id="call_1")


@pytest.mark.parametrize("error", [BadRequest("no"), AtCapacity("full")])
@in_virtual_time
async def test_what_is_not_the_replicas_fault_is_told_at_once(error: Exception) -> None:
    remote, (first, second) = llm(Trouble(error), None)
    with pytest.raises(type(error)):
        await written(remote)
    assert not second.asked
    assert CIRCUITS.sound(first.name)


@in_virtual_time
async def test_a_replica_in_trouble_is_not_asked_by_the_next_one() -> None:
    remote, (first, second) = llm(Trouble(FREEZES), None)
    await written(remote)
    await written(remote)
    assert (len(first.asked), len(second.asked)) == (1, 2)


@in_virtual_time
async def test_what_is_made_again_is_counted() -> None:
    for trouble, why in ((Trouble(FREEZES), "silent"), (Trouble(DIES), "failed"), (None, None)):
        told: list[Measure] = []
        replicas = [Replica("llm-0", synthetic_llm(), trouble), Replica("llm-1", synthetic_llm())]
        await written(RemoteLlm(deployment("llm", *replicas), HASTE, told.append))
        assert [measure.tags for measure in told] == ([{"model": "llm", "why": why}] if why else [])
        assert {measure.name for measure in told} <= {instrument.name for instrument in INSTRUMENTS}


@in_virtual_time
async def test_the_only_replica_is_waited_for() -> None:
    remote, (only,) = llm(Trouble(FREEZES))
    task = asyncio.create_task(written(remote))
    await asyncio.sleep(60)
    assert (len(only.asked), only.open) == (1, 1)
    task.cancel()
    await settled()
    assert only.open == 0


@in_virtual_time
async def test_the_second_attempt_is_waited_for_as_long_as_the_caller_waits() -> None:
    remote, replicas = llm(Trouble(FREEZES), Trouble(FREEZES), None)
    task = asyncio.create_task(written(remote))
    await asyncio.sleep(60)
    assert [len(each.asked) for each in replicas] == [1, 1, 0]
    assert [each.open for each in replicas] == [0, 1, 0]
    task.cancel()
    await settled()


class Slow:
    """A new word every 400 ms for one request until it freezes, and nothing at all for the next."""

    def __init__(self, words: int) -> None:
        self._words = words

    async def generate(self, messages: Sequence[Message], **how: Any) -> AsyncGenerator[TextDelta, None]:
        for _ in range(self._words if messages[-1].text == "go on" else 0):
            await asyncio.sleep(0.4)
            yield TextDelta("well ")
        await asyncio.sleep(3600)


@pytest.mark.parametrize(("words", "waits_s"), [(0, 0.5), (2, 1.3), (100, 2.1)])
@in_virtual_time
async def test_a_replica_that_gives_something_to_others_is_only_busy(words: int, waits_s: float) -> None:
    """As long as it does, and nothing is waited for any longer than the longest."""
    remote, (_, second) = llm(None, None, engine=Slow(words))
    for _ in range(8):  # it has always been quick
        remote._paces.took(("generate", "write", True), 0.1)
        remote._paces.took(("generate", "next"), 0.4)
    busy = asyncio.create_task(written(remote, [Message("user", "go on")]))
    await asyncio.sleep(0.1)
    waiting = asyncio.create_task(written(remote, [Message("user", "wait")]))
    await asyncio.sleep(waits_s - 0.15)
    assert [args[0][0].text for args, _ in second.asked].count("wait") == 0
    await asyncio.sleep(0.2)
    assert [args[0][0].text for args, _ in second.asked].count("wait") == 1
    for task in (busy, waiting):
        task.cancel()
    await settled()


@in_virtual_time
async def test_a_request_says_how_urgent_it_is_and_is_urgent_when_it_is_made_again() -> None:
    remote, (first, second) = llm(Trouble(DIES), None)
    with urgent(Priority.SPECULATION, 3.0, "call_1"):
        items = remote.generate(QUESTION, **ALL)  # type: ignore[arg-type]
    assert [item async for item in items]
    assert first.urgencies == [Urgency(Priority.SPECULATION, 3.0, "call_1")]
    assert second.urgencies == [Urgency(Priority.FIRST_PHRASE, 3.0, "call_1")]


@in_virtual_time
async def test_closing_an_answer_ends_it_in_the_replica() -> None:
    remote, (only,) = llm(None)
    items = remote.generate(QUESTION, **ALL)  # type: ignore[arg-type]
    await anext(items)
    assert only.open == 1
    await items.aclose()
    assert only.open == 0


@in_virtual_time
async def test_how_long_silence_is_waited_for_follows_what_is_usual() -> None:
    loop = asyncio.get_running_loop()
    remote, (first, second) = llm(Trouble(FREEZES, request=1), None)
    began_s = loop.time()
    await written(remote)
    assert loop.time() - began_s == pytest.approx(2.0, abs=0.01)  # nothing is known yet
    CIRCUITS.answered(first.name)
    first.trouble = Trouble(FREEZES)
    began_s = loop.time()
    await written(remote)
    assert loop.time() - began_s == pytest.approx(0.5, abs=0.01)
    assert len(second.asked) == 2


def test_a_pace_is_not_moved_by_a_few_slow_ones() -> None:
    pace = Pace(FailureOptions(stall_factor=3, least_stall_ms=100, longest_stall_ms=9000))
    assert pace.limit_s == 9.0
    for _ in range(29):
        pace.took(0.2)
    for _ in range(3):
        pace.took(8.0)
    assert pace.limit_s == pytest.approx(0.6)
    pace.took(8.0)
    assert pace.limit_s == 9.0
    for _ in range(32):
        pace.took(0.01)
    assert pace.limit_s == 0.1


# --- speech


class Ramp:
    """A voice whose samples are numbered, in chunks of uneven sizes that differ with every request."""

    def __init__(self) -> None:
        self._sizes = 100

    async def speak(self, text: str, **how: Any) -> AsyncGenerator[AudioChunk, None]:
        size, self._sizes = self._sizes, self._sizes + 31
        for first in range(0, 1000, size):
            yield AudioChunk(np.arange(first, min(1000, first + size), dtype=np.int16), 16_000)


@in_virtual_time
async def test_a_phrase_that_breaks_off_is_spoken_on_from_the_first_sample_that_is_missing() -> None:
    for error in (DIES, FREEZES):
        for after in range(11):
            engine = Ramp()
            replicas = [Replica("tts-0", engine, Trouble(error, after)), Replica("tts-1", engine)]
            remote = RemoteTts(deployment("tts", *replicas), HASTE)
            chunks = [chunk async for chunk in remote.speak("hello", voice="v", speed=1.0)]
            assert np.array_equal(np.concatenate([chunk.pcm for chunk in chunks]), np.arange(1000))
            assert all(len(chunk.pcm) for chunk in chunks)
            assert [each.asked for each in replicas] == [[(("hello",), {"voice": "v", "speed": 1.0})]] * 2


# --- answers of one piece


class Ear:
    async def transcribe(self, audio: object, **how: Any) -> str:
        return "hello"

    async def end_of_turn(self, audio: object) -> float:
        return 0.5


@pytest.mark.parametrize("error", [DIES, FREEZES])
@in_virtual_time
async def test_an_answer_of_one_piece_is_asked_for_again(error: Exception | None) -> None:
    audio = np.zeros(16_000, np.int16)
    for remote_type in (RemoteAsr, RemoteTurn):
        replicas = [Replica("ear-0", Ear(), Trouble(error)), Replica("ear-1", Ear())]
        remote = remote_type(deployment("ear", *replicas), HASTE)
        answer = await (remote.transcribe(audio) if isinstance(remote, RemoteAsr) else remote.end_of_turn(audio))
        assert answer in ("hello", 0.5)
        assert [len(each.asked) for each in replicas] == [1, 1]
        assert [each.open for each in replicas] == [0, 0]
