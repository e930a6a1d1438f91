import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.contracts import Finished, LlmItem, Message, TextDelta, Tool, ToolCall, Usage
from deployments.errors import BadRequest, ModelFailed
from deployments.llm.deployment import LlmDeployment
from deployments.llm.options import LlmOptions
from deployments.llm.synthetic_answers import BY_NAME, counted, spelled
from deployments.options import Timing
from deployments.store import StoreOptions

FAST = Timing(first_item_ms=0, items_per_s=1e6)
RULES = Message("system", "Be brief.")
WEATHER = Tool(
    "get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
)
TIMER = Tool(
    "set_timer",
    parameters={
        "properties": {"minutes": {"type": "integer"}, "loud": {"type": "boolean"}, "why": {"type": "string"}},
        "required": ["minutes", "loud"],
    },
)


def deployed(**options: Any) -> LlmDeployment:
    settings = LlmOptions.model_validate({"model": "echo", "engine": "synthetic", "timing": FAST, **options})
    return LlmDeployment(settings, None, StoreOptions())


def generate(deployment: LlmDeployment, messages: Sequence[Message], **order: Any) -> AsyncGenerator[LlmItem, None]:
    return deployment.generate(messages, **{"session_id": "s", "max_tokens": 256, "temperature": 0.4, **order})


async def items(messages: Sequence[Message], **order: Any) -> list[LlmItem]:
    return [item async for item in generate(deployed(), messages, **order)]


async def said(*texts: str, **order: Any) -> str:
    answer = await items([RULES, *(Message("user", text) for text in texts)], **order)
    return "".join(item.text for item in answer if isinstance(item, TextDelta))


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (["Hello there."], "You said: Hello there."),
        (["  spaces   stay  "], "You said: spaces   stay."),
        ([""], "You said nothing."),
        ([], "You said nothing."),
        (["My name is Ada.", "What did I say first?"], "First you said: My name is Ada."),
        (["One", "Two", "which thing was said FIRST"], "First you said: One."),
        (["thirsty people essay"], "You said: thirsty people essay."),
        (["Please count to 3."], "One two three."),
        (["count to twelve please"], "One two three four five six seven eight nine ten. Eleven twelve."),
        (["count to 201"], "You said: count to 201."),
        (["count to the moon"], "You said: count to the moon."),
    ],
)
async def test_it_answers_by_the_table(texts: list[str], answer: str) -> None:
    assert await said(*texts) == answer


async def test_text_comes_word_by_word() -> None:
    answer = await items([Message("user", "a b")])
    assert [item.text for item in answer if isinstance(item, TextDelta)] == ["You", " said:", " a", " b."]
    assert answer[-1] == Finished("stop", Usage(3, 0, 4))


@given(st.integers(1, 200))
def test_it_counts_every_number_once(upto: int) -> None:
    sentences = counted(upto).removesuffix(".").lower().split(". ")
    assert len(sentences) == -(-upto // 10)
    assert " ".join(sentences) == " ".join(map(spelled, range(1, upto + 1)))
    assert BY_NAME[spelled(upto)] == upto


@pytest.mark.parametrize(
    ("text", "order", "name", "arguments"),
    [
        ("Get weather New York!", {}, "get_weather", {"city": "New York"}),
        ("please set timer for 5 minutes", {}, "set_timer", {"minutes": 5, "loud": True}),
        ("please set timer", {}, "set_timer", {"minutes": 0, "loud": True}),
        ("Paris", {"tool_choice": "required"}, "get_weather", {"city": "Paris"}),
        ("get weather 7", {"tool_choice": "set_timer"}, "set_timer", {"minutes": 7, "loud": True}),
    ],
)
async def test_it_calls_a_tool(text: str, order: dict[str, Any], name: str, arguments: dict[str, Any]) -> None:
    call, finished = await items([RULES, Message("user", text)], tools=[WEATHER, TIMER], **order)
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == (name, arguments)
    assert isinstance(finished, Finished)
    assert finished.reason == "tool_calls"


async def test_no_tool_is_called_when_none_may_be() -> None:
    assert await said("get weather now", tools=[WEATHER], tool_choice="none") == "You said: get weather now."


async def test_it_answers_with_the_tools_output() -> None:
    call = ToolCall("c", "get_weather", "{}")
    messages = [Message("user", "get weather"), Message("assistant", "", (call,)), Message("tool", "18 °C", (), "c")]
    answer = await items(messages, tools=[WEATHER])
    assert "".join(item.text for item in answer if isinstance(item, TextDelta)) == "The answer is 18 °C."


@given(st.integers(0, 40), st.text(st.characters(codec="ascii", categories=["L", "Nd"]), min_size=1))
def test_an_answer_cut_anywhere_is_gone_on_with(at: int, text: str) -> None:
    async def both() -> tuple[str, str]:
        whole = await said(text)
        rest = await items([RULES, Message("user", text), Message("assistant", whole[:at])])
        return whole, whole[:at] + "".join(item.text for item in rest if isinstance(item, TextDelta))

    whole, joined = asyncio.run(both())
    assert joined.split() == whole.split()


@pytest.mark.parametrize(("max_tokens", "reason", "words"), [(0, "length", 0), (2, "length", 2), (4, "stop", 4)])
async def test_max_tokens_are_words(max_tokens: int, reason: str, words: int) -> None:
    answer = await items([Message("user", "a b")], max_tokens=max_tokens)
    assert len(answer) == words + 1
    assert isinstance(answer[-1], Finished)
    assert (answer[-1].reason, answer[-1].usage.generated_tokens) == (reason, words)


async def test_a_session_keeps_its_prefix() -> None:
    deployment = deployed()
    first = [RULES, Message("user", "one two")]
    longer = [*first, Message("assistant", "ok"), Message("user", "three")]
    cached = [
        [item async for item in generate(deployment, messages, session_id=session)][-1]
        for session, messages in (("s", first), ("s", longer), ("other", longer))
    ]
    assert [item.usage.cached_tokens for item in cached if isinstance(item, Finished)] == [0, 6, 0]


async def test_an_answer_past_its_deadline_fails() -> None:
    with pytest.raises(ModelFailed, match="longer than"):
        async for _ in generate(deployed(deadline_s=0.01, timing=Timing(first_item_ms=60_000)), [RULES]):
            pass


USER = Message("user", "hi")


@pytest.mark.parametrize(
    ("messages", "order", "field"),
    [
        ([], {}, "messages"),
        ([USER] * 5000, {}, "messages"),
        ([Message("user", "x" * 40_000)], {}, "messages"),
        ([USER, Message("robot", "hi")], {}, "messages[1].role"),  # type: ignore[arg-type]
        ([Message("tool", "18")], {}, "messages[0].call_id"),
        ([Message("user", "hi", (ToolCall("c", "f", "{}"),))], {}, "messages[0].tool_calls"),
        ([Message("user", "\ud83d")], {}, "messages[0].text"),
        ([USER], {"temperature": 2.1}, "temperature"),
        ([USER], {"temperature": float("nan")}, "temperature"),
        ([USER], {"max_tokens": -1}, "max_tokens"),
        ([USER], {"session_id": ""}, "session_id"),
        ([USER], {"tools": [Tool("get weather")]}, "tools[0].name"),
        ([USER], {"tools": [WEATHER, WEATHER]}, "tools[1].name"),
        ([USER], {"tools": [Tool(f"t{n}") for n in range(129)]}, "tools"),
        ([USER], {"tools": [WEATHER], "tool_choice": "set_timer"}, "tool_choice"),
        ([USER], {"tool_choice": "required"}, "tool_choice"),
    ],
)
async def test_bad_requests_name_the_field(messages: list[Message], order: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await items(messages, **order)
    assert refused.value.field == field


def test_slots_too_small_to_talk_in_are_refused() -> None:
    with pytest.raises(ValueError, match="leaves 64 tokens"):
        LlmOptions(model="m", context_tokens=256, slots=4)
