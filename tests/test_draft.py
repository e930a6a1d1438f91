import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deployments.contracts import Finished, Llm, LlmItem, Message, TextDelta, Tool, ToolCall, Usage
from deployments.errors import ModelFailed
from deployments.options import Timing
from deployments.urgency import Priority
from serve_app.begun import Part, SpokenPhrase
from serve_app.brief import Brief
from serve_app.call_options import CallOptions, Deadlines
from serve_app.conversation.items import Modality
from serve_app.conversation.phrases import FIRST_WORDS
from serve_app.draft import Draft
from serve_app.flow import Flow
from serve_app.models import Models
from serve_app.opening import Words
from tests.call_kit import PATIENCE_S, Recording, synthetic_asr, synthetic_llm, synthetic_tts, synthetic_turn


def brief(text: str, output: Modality = "audio") -> Brief:
    return Brief([Message("user", text)], "session", output, None, 1.0, 500, (), "auto")


class Making:
    """A draft and what came of it."""

    def __init__(
        self,
        llm: Llm | None = None,
        options: CallOptions | None = None,
        *,
        flow: Flow | None = None,
        promoted: list[tuple[str, str]] | None = None,
        words: Words | None = None,
    ) -> None:
        self.models = Recording(llm or synthetic_llm(), synthetic_tts())
        self.moments: list[str] = []
        tell = (promoted if promoted is not None else []).append
        models = Models(synthetic_asr(), self.models, self.models, synthetic_turn(), lambda *what: tell(what))
        self.draft = Draft(models, options or CallOptions(), self.moments.append, flow, words)
        self.parts: list[Part] = []

    async def take(self) -> None:
        while not self.parts or not isinstance(self.parts[-1], Finished):
            self.parts.append(await self.draft.parts.get())

    async def listen(self) -> None:
        """Take a phrase when the one before has its sound, as whoever hears them does."""
        while not self.parts or not isinstance(self.parts[-1], Finished):
            self.parts.append(part := await self.draft.parts.get())
            if isinstance(part, SpokenPhrase):
                while await part.chunks.get():
                    pass

    async def all(self, given: Brief, *, heard: bool = False) -> list[Part]:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            group.create_task(self.draft.run(given))
            group.create_task(self.listen() if heard else self.take())
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


async def test_without_phrase_streaming_all_is_written_before_anything_is_spoken() -> None:
    streamed, whole = Making(), Making(options=CallOptions(stream_phrases=False))
    once = await streamed.all(brief("count to 100"), heard=True)
    twice = await whole.all(brief("count to 100"), heard=True)
    assert streamed.moments.index("tts_started") < streamed.moments.index("llm_finished")
    assert whole.moments.index("llm_finished") < whole.moments.index("tts_started")
    assert whole.models.continued == []
    assert [part.phrase for part in twice if isinstance(part, SpokenPhrase)] == [
        part.phrase for part in once if isinstance(part, SpokenPhrase)
    ]


async def test_text_is_told_as_it_is_written_without_phrase_streaming() -> None:
    parts = await Making(options=CallOptions(stream_phrases=False)).all(brief("count to 20", "text"))
    assert len([part for part in parts if isinstance(part, TextDelta)]) == 20


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


async def test_more_is_written_before_an_answer_is_heard_where_the_last_one_fell_silent_after_its_first() -> None:
    words = Words()
    begins, ends = map(TextDelta, ("one ", "two ", "three ", "four ")), TextDelta("five six. ")
    slow = Scripted(*begins, 2.0, ends, Finished("stop", Usage()))
    late = Making(slow, CallOptions(first_phrase_alone=False), words=words)
    late.draft.want()
    await late.all(brief("count"))
    assert int(words) == FIRST_WORDS + 1
    unheard = Making(slow, CallOptions(first_phrase_alone=False), words=words)
    await unheard.all(brief("count"))
    assert int(words) == FIRST_WORDS + 1, "nobody waited for this one"


FOUR_WORDS = tuple(map(TextDelta, ("one ", "two ", "three ", "four ")))
FOR_EVER_S = 3600.0


async def goes_on(words: int, *items: LlmItem | float) -> Making:
    """An answer that needs so many words to begin with, when its first sound is let go. Fails where it is not."""
    making = Making(Scripted(*items, Finished("stop", Usage())), words=Words(words))
    making.draft.want()
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(making.draft.run(brief("count")))
        async with asyncio.timeout(PATIENCE_S):
            first = await making.draft.parts.get()
            await making.draft.goes_on()
        writing.cancel()
    assert isinstance(first, SpokenPhrase)
    assert first.phrase.text == "one two three "
    return making


async def test_the_first_sound_is_held_for_words_to_go_on_with_which_are_spoken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serve_app.draft.HELD_S", FOR_EVER_S)
    later = 0.3, TextDelta("five "), TextDelta("six "), TextDelta("se"), FOR_EVER_S
    held = await goes_on(FIRST_WORDS + 3, *FOUR_WORDS, *later)
    second = held.draft.parts.get_nowait()
    assert isinstance(second, SpokenPhrase)
    assert second.phrase.text == "four five six "


@pytest.mark.parametrize("words", [FIRST_WORDS, FIRST_WORDS + 1])
async def test_it_is_held_for_no_more_than_is_needed(words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve_app.draft.HELD_S", FOR_EVER_S)
    assert (await goes_on(words, *FOUR_WORDS, FOR_EVER_S)).draft.parts.empty()


async def test_it_is_not_held_where_there_is_no_more_nor_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    await goes_on(FIRST_WORDS + 3, *FOUR_WORDS, FOR_EVER_S)
    monkeypatch.setattr("serve_app.draft.HELD_S", FOR_EVER_S)
    await goes_on(FIRST_WORDS + 3, *FOUR_WORDS)


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


# --- pauses and urgency


def whole(parts: list[Part]) -> tuple[str, list[bytes]]:
    """Text and sound of an answer that is complete."""
    spoken = [part for part in parts if isinstance(part, SpokenPhrase)]
    sound = [[chunk.pcm for chunk in iter(part.chunks.get_nowait, None)] for part in spoken]
    return "".join(part.phrase.text for part in spoken), [np.concatenate(pcm).tobytes() for pcm in sound if pcm]


async def paused_again_and_again(making: Making, flow: Flow, done: asyncio.Event) -> int:
    """How often it was. While it is, no stream of the answer is open once there is something to hear."""
    pauses, next_s = 0, 0.03
    while not done.is_set():
        await asyncio.sleep(next_s)
        next_s *= 1.2  # a phrase is made between two of them at last, on any machine
        flow.pause()
        if "tts_first_audio" in making.moments and "llm_finished" not in making.moments:
            while making.models.open_streams:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.sleep(0.01)
            assert "llm_finished" not in making.moments
            assert making.models.open_streams == 0
            pauses += 1
        flow.resume()
    return pauses


@pytest.mark.parametrize("wanted", [True, False])
async def test_before_the_voice_falls_silent_it_is_given_what_is_written(wanted: bool) -> None:
    """The first phrase sounds for less than a second. Its end is not waited for by whoever is not heard yet."""
    words = [TextDelta(f"{word} ") for word in ["so", "it", "went", "on", "and", "on", "without", "end", "and", "more"]]
    slowly: list[LlmItem | float] = [part for word in words for part in (0.15, word)]
    making = Making(Scripted(TextDelta("Well, "), *slowly, Finished("stop", Usage())))
    if wanted:
        making.draft.want()
    parts = await making.all(replace(brief("hello"), tools=(Tool("get_time", "", {}),)))
    phrases = [part.phrase.text for part in parts if isinstance(part, SpokenPhrase)]
    assert "".join(phrases) == "Well, so it went on and on without end and more "
    assert (len(phrases) > 2) == wanted


async def test_while_the_llm_thinks_the_voice_goes_on_with_what_is_written_and_that_is_urgent() -> None:
    words = (TextDelta("Well, "), TextDelta("so it went on "), 2.0, TextDelta("and on."), Finished("stop", Usage()))
    making = Making(Scripted(*words))
    making.draft.want()
    parts = await making.all(replace(brief("hello"), tools=(Tool("get_time", "", {}),)))
    phrases = [part.phrase.text for part in parts if isinstance(part, SpokenPhrase)]
    assert phrases == ["Well, ", "so it went on ", "and on."]
    spoken = [urgency.priority for kind, urgency in making.models.urgencies if kind == "speak"]
    assert spoken == [Priority.FIRST_PHRASE] * 3


@pytest.mark.parametrize("tools", [(), (Tool("get_time", "", {}),)])
async def test_an_answer_that_is_paused_again_and_again_is_the_same_in_the_end(tools: tuple[Tool, ...]) -> None:
    asked = replace(brief("count to 40"), tools=tools)
    undisturbed = Making()
    expected = await undisturbed.all(asked)
    flow, done = Flow(), asyncio.Event()
    making = Making(synthetic_llm(Timing(first_item_ms=5, items_per_s=100)), flow=flow)
    making.models.tts = synthetic_tts(Timing(first_item_ms=5, items_per_s=60))
    async with asyncio.TaskGroup() as group:
        pausing = group.create_task(paused_again_and_again(making, flow, done))
        parts = await making.all(asked)
        done.set()
    assert pausing.result() > 2
    assert whole(parts) == whole(expected)
    assert isinstance(parts[-1], Finished)
    assert isinstance(expected[-1], Finished)
    assert parts[-1].reason == expected[-1].reason
    assert parts[-1].usage.generated_tokens == expected[-1].usage.generated_tokens


async def test_a_call_of_a_tool_is_made_once_whatever_pauses() -> None:
    flow = Flow()
    call, end = ToolCall("call_1", "look", "{}"), Finished("tool_calls", Usage())
    making = Making(Scripted(TextDelta("Let me see."), 0.1, call, 0.1, end), flow=flow)

    async def pause() -> None:
        """From the call to the answer's end, which comes all the same."""
        for awaited in (call, end):
            while awaited not in making.parts:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            flow.pause()
        flow.resume()

    async with asyncio.TaskGroup() as group:
        group.create_task(pause())
        parts = await making.all(replace(brief("x"), tools=(Tool("look", "", {}),)))
    assert [part for part in parts if isinstance(part, ToolCall)] == [call]


async def test_an_answer_that_nobody_waits_for_is_speculation_until_somebody_does() -> None:
    promoted: list[tuple[str, str]] = []
    making = Making(synthetic_llm(Timing(first_item_ms=30, items_per_s=10_000)), promoted=promoted)
    async with asyncio.TaskGroup() as group:
        group.create_task(making.all(brief("count to 20")))
        while not making.models.prompts:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        making.draft.want()
    assert promoted == [("llm", "session")]
    (_, first), *rest = making.models.urgencies
    assert first.priority is Priority.SPECULATION
    assert [urgency.priority for _, urgency in rest if urgency.priority is Priority.SPECULATION] == []
    assert [u.priority for kind, u in rest if kind == "speak"][:2] == [Priority.FIRST_PHRASE, Priority.LATER_PHRASE]
    assert [u.priority for kind, u in rest if kind == "generate"] == [Priority.LATER_PHRASE]
    assert all(urgency.wait_s and urgency.call == "session" for _, urgency in making.models.urgencies)


async def test_what_has_begun_needs_no_promotion() -> None:
    promoted: list[tuple[str, str]] = []
    making = Making(promoted=promoted)
    await making.all(brief("hello"))
    making.draft.want()
    assert promoted == []
