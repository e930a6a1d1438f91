import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from deployments.contracts import Finished, Llm, LlmItem, Message, TextDelta, Tool, ToolCall, Usage
from deployments.errors import ModelFailed
from serve_app.conversation.items import Modality
from serve_app.draft import Brief, Draft, Part, SpokenPhrase, timely
from serve_app.models import Models
from serve_app.options import CallOptions, Deadlines
from tests.call_kit import PATIENCE_S, Recording, synthetic_asr, synthetic_llm, synthetic_tts, synthetic_turn


def brief(text: str, output: Modality = "audio") -> Brief:
    return Brief([Message("user", text)], "session", output, None, 1.0, 500, (), "auto")


class Making:
    """A draft and what came of it."""

    def __init__(self, llm: Llm | None = None, options: CallOptions | None = None) -> None:
        self.models = Recording(llm or synthetic_llm(), synthetic_tts())
        self.moments: list[str] = []
        models = Models(synthetic_asr(), self.models, self.models, synthetic_turn())
        self.draft = Draft(models, options or CallOptions(), self.moments.append)
        self.parts: list[Part] = []

    async def take(self) -> None:
        while not self.parts or not isinstance(self.parts[-1], Finished):
            self.parts.append(await self.draft.parts.get())

    async def all(self, given: Brief) -> list[Part]:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            group.create_task(self.draft.run(given))
            group.create_task(self.take())
        return self.parts


async def test_an_answer_becomes_phrases_with_their_sound() -> None:
    making = Making()
    *phrases, finished = await making.all(brief("count to 20"))
    assert isinstance(finished, Finished)
    spoken = [part for part in phrases if isinstance(part, SpokenPhrase)]
    assert len(spoken) == len(phrases) > 2
    assert "".join(part.phrase.text for part in spoken).startswith("One two three four five six")
    assert all(part.chunks.qsize() >= 2 for part in spoken)  # sound, and None at its end
    assert making.moments.index("llm_started") < making.moments.index("llm_first_token")
    assert making.moments.index("tts_started") < making.moments.index("tts_first_audio")
    assert making.moments[-1] == "tts_finished"
    assert making.models.open_streams == 0


async def test_text_is_not_spoken() -> None:
    making = Making()
    parts = await making.all(brief("hello", "text"))
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == "You said: hello."
    assert not {"tts_started", "tts_finished"} & set(making.moments)


async def test_the_llm_rests_while_the_first_phrase_is_made_into_sound() -> None:
    alone, together = Making(), Making(options=CallOptions(first_phrase_alone=False))
    once, twice = await together.all(brief("count to 20")), await alone.all(brief("count to 20"))
    assert together.models.continued == []
    (first,), (second,) = alone.models.prompts, alone.models.continued
    assert second[:-1] == first
    assert second[-1].role == "assistant"
    assert second[-1].text.startswith("One two three")
    assert [part.phrase for part in twice if isinstance(part, SpokenPhrase)] == [
        part.phrase for part in once if isinstance(part, SpokenPhrase)
    ]
    assert isinstance(once[-1], Finished)
    assert isinstance(twice[-1], Finished)
    assert twice[-1].reason == once[-1].reason
    assert twice[-1].usage.generated_tokens == once[-1].usage.generated_tokens
    assert alone.moments.index("tts_first_audio") < alone.moments.index("llm_finished")


async def test_an_answer_that_may_call_tools_is_written_in_one_go() -> None:
    making = Making()
    await making.all(replace(brief("count to 20"), tools=(Tool("get_time", "", {}),)))
    assert making.models.continued == []


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 8])
async def test_an_answer_is_never_longer_than_it_may_be(limit: int) -> None:
    making = Making()
    *phrases, finished = await making.all(replace(brief("count to 20"), max_tokens=limit))
    text = "".join(part.phrase.text for part in phrases if isinstance(part, SpokenPhrase))
    assert len(text.split()) == limit
    assert isinstance(finished, Finished)
    assert (finished.reason, finished.usage.generated_tokens) == ("length", limit)


async def test_no_more_is_made_than_somebody_takes() -> None:
    making = Making()
    async with asyncio.timeout(PATIENCE_S):
        task = asyncio.create_task(making.draft.run(brief("count to 200")))
        while not making.draft.parts.full():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        assert making.draft.parts.qsize() == CallOptions().phrases_ahead
        assert making.models.open_streams == 1  # the LLM waits
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert making.models.open_streams == 0


class Scripted:
    """An LLM that says these items; a number is a wait in seconds."""

    def __init__(self, *items: LlmItem | float) -> None:
        self._items = items

    async def generate(self, messages: Sequence[Message], **options: Any) -> AsyncGenerator[LlmItem, None]:
        for item in self._items:
            if isinstance(item, float):
                await asyncio.sleep(item)
            else:
                yield item

    async def sentence_end(self, messages: Sequence[Message], **options: Any) -> float | None:
        return None


async def test_words_before_a_tool_call_are_spoken_before_it() -> None:
    call = ToolCall("call_1", "look", "{}")
    parts = await Making(Scripted(TextDelta("Let me see"), call, Finished("tool_calls", Usage()))).all(brief("x"))
    assert isinstance(parts[0], SpokenPhrase)
    assert parts[1] == call


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((3600.0,), "the LLM stalled for 0.1 s"),
        ((TextDelta("Well"), 3600.0), "the LLM stalled for 0.2 s"),
        ((TextDelta("Well"),), "broke off"),
        ((), "broke off"),
    ],
)
async def test_an_llm_that_stalls_or_breaks_off_has_failed(items: tuple[LlmItem | float, ...], message: str) -> None:
    making = Making(Scripted(*items), CallOptions(deadlines=Deadlines(first_token_s=0.1, next_token_s=0.2)))
    with pytest.raises(ExceptionGroup) as failed:
        await making.draft.run(brief("hello"))
    assert failed.group_contains(ModelFailed, match=message)
    assert making.models.open_streams == 0


async def test_what_an_llm_does_after_its_end_is_of_no_interest() -> None:
    making = Making(Scripted(TextDelta("Done."), Finished("stop", Usage()), 3600.0))
    assert len(await making.all(brief("x"))) == 2


async def test_a_late_stream_is_closed() -> None:
    closed = []

    async def endless() -> AsyncGenerator[int, None]:
        try:
            yield 1
            await asyncio.sleep(3600)
        finally:
            closed.append(True)

    with pytest.raises(ModelFailed, match=r"it stalled for 0\.05 s"):
        assert [item async for item in timely(endless(), "it", 5, 0.05)] == [1]
    assert closed


async def test_a_stream_that_nobody_reads_to_its_end_is_closed() -> None:
    closed = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            for number in range(10):
                yield number
        finally:
            closed.append(True)

    items = timely(numbers(), "it", 5, 5)
    assert await anext(items) == 0
    await items.aclose()
    assert closed
