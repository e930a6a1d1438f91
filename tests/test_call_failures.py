import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from deployments.contracts import Finished, LlmItem, Message, Pcm, TextDelta, ToolCall, Transcript, Usage
from deployments.errors import ModelFailed
from serve_app.call_options import CallOptions, Deadlines
from serve_app.conversation import messages as m
from serve_app.conversation.turns import State
from tests.call_kit import (
    calling,
    said,
    speaking,
    statuses,
    synthetic_llm,
    turn,
)


class Unwell:
    """A language model that raises, stalls or breaks off; from the second turn on it is well."""

    def __init__(self, illness: str) -> None:
        self._illness: str | None = illness
        self._well = synthetic_llm()

    async def generate(self, messages: Sequence[Message], **options: Any) -> AsyncGenerator[LlmItem, None]:
        illness, self._illness = self._illness, None
        if illness == "raises":
            raise ModelFailed("out of memory")
        if illness is not None:
            yield TextDelta("Well, ")
            if illness == "stalls":
                await asyncio.sleep(3600)
            return
        async for item in self._well.generate(messages, **options):
            yield item

    async def sentence_end(self, messages: Sequence[Message], **options: Any) -> float | None:
        if self._illness == "raises":
            raise ModelFailed("out of memory")
        return await self._well.sentence_end(messages, **options)


@pytest.mark.parametrize("illness", ["raises", "stalls", "breaks off"])
async def test_a_model_that_fails_is_apologised_for_and_the_next_turn_works(illness: str) -> None:
    options = CallOptions(prefill=False, first_phrase_alone=False, deadlines=Deadlines(next_token_s=0.2))
    async with calling(llm=Unwell(illness), options=options) as rig:
        item = await turn(rig, "hello")
        assert rig.line.words(item).endswith("sorry, i could not answer that. please say it again.")
        assert [status for status, _ in statuses(rig)] == ["failed"]
        assert rig.line.all(m.TurnTimed)[0].timeline["outcome"] == "failed"
        assert (await turn(rig, "hello", 2)).text == "You said: hello."


async def test_speech_that_nobody_could_understand_is_apologised_for() -> None:
    class Deaf:
        async def transcribe(self, audio: Pcm, *, language: str | None = None, **how: Any) -> Transcript:
            raise ModelFailed("no ears")

    async with calling(asr=Deaf()) as rig:
        await turn(rig, "hello")
        assert rig.line.all(m.TranscriptionFailed)[0].message == "no ears"
        assert statuses(rig) == [("failed", "no ears")]


@pytest.mark.parametrize("kind", ["asr", "llm"])
async def test_an_answer_that_does_not_begin_is_apologised_for_when_the_turn_has_waited_long_enough(kind: str) -> None:
    class Frozen:
        def __getattr__(self, name: str) -> Any:
            return self.answer if kind == "asr" or name == "sentence_end" else self.items

        async def answer(self, *args: Any, **how: Any) -> Any:
            await asyncio.sleep(3600)

        async def items(self, *args: Any, **how: Any) -> AsyncGenerator[LlmItem, None]:
            await asyncio.sleep(3600)
            yield Finished("stop", Usage())

    options = CallOptions(prefill=False, deadlines=Deadlines(answer_s=0.3, end_of_turn_s=0.1))
    frozen: Any = Frozen()
    async with calling(options=options, **{kind: frozen}) as rig:
        item = await turn(rig, "hello")
        assert rig.line.words(item) == "sorry, i could not answer that. please say it again."
        assert statuses(rig) == [("failed", "the answer did not begin within 0.3 s")]
        assert rig.line.all(m.TurnTimed)[0].timeline["outcome"] == "failed"


async def test_an_answer_that_began_may_take_its_time() -> None:
    options = CallOptions(prefill=False, deadlines=Deadlines(answer_s=0.3))
    async with calling(options=options, speed=5.0) as rig:
        await turn(rig, "count to 20")
        assert statuses(rig) == [("completed", None)]


async def test_a_model_that_has_more_to_do_after_its_end_is_not_waited_for() -> None:
    class Lingers:
        async def generate(self, messages: Sequence[Message], **options: Any) -> AsyncGenerator[LlmItem, None]:
            yield ToolCall("call_1", "hang_up", "{}")
            yield Finished("tool_calls", Usage())
            await asyncio.sleep(3600)

        async def sentence_end(self, messages: Sequence[Message], **options: Any) -> float | None:
            return None

    async with calling(llm=Lingers()) as rig:
        rig.line.give(said("bye"))
        await rig.line.wait(m.TurnTimed)
        assert statuses(rig) == [("completed", None)]


async def test_a_caller_who_leaves_in_mid_answer_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    async with calling(speed=1.0) as rig:
        rig.line.give(said("count to 200"))
        await speaking(rig)
        assert rig.models.open_streams
        await rig.end()
        assert rig.call.state is State.CLOSED
        assert asyncio.all_tasks() == before


async def test_a_client_that_does_not_read_ends_its_call() -> None:
    async with calling() as rig:
        await rig.line.arrived.acquire()  # nothing is taken any more
        rig.line.give(*[m.RetrieveItem("nothing")] * 2_100)
        await rig.task
        rig.line.arrived.release()
        assert rig.call.state is State.CLOSED
