"""Checkpoints: what goes in comes out; what is broken, of another version or somebody else's does not."""

import json
import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.contracts import Tool, ToolCall
from serve_app.checkpoint import MAX_BYTES, VERSION, TooLarge, decode, encode
from serve_app.conversation.items import (
    CallSettings,
    FunctionCallItem,
    FunctionOutputItem,
    Item,
    MessageItem,
    SemanticVad,
    ServerVad,
)

SETTINGS = CallSettings("Be brief.")
TEXT = st.text(max_size=20)
STATUS = st.sampled_from(["completed", "incomplete"])
ANY_ITEM: st.SearchStrategy[Item] = st.one_of(
    st.builds(
        MessageItem,
        role=st.sampled_from(["system", "user", "assistant"]),
        text=st.text(min_size=1, max_size=20),
        modality=st.sampled_from(["text", "audio"]),
        id=TEXT,
        status=STATUS,
        audio=st.none(),
        heard_ms=st.none() | st.integers(0, 10**6),
        aside=st.booleans(),
    ),
    st.builds(FunctionCallItem, call=st.builds(ToolCall, TEXT, TEXT, TEXT), id=TEXT, status=STATUS),
    st.builds(FunctionOutputItem, call_id=TEXT, output=TEXT, id=TEXT, status=STATUS),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT, lambda inner: st.dictionaries(TEXT, inner), max_leaves=4
)
ANY_SETTINGS = st.builds(
    CallSettings,
    instructions=TEXT,
    voice=st.none() | TEXT,
    speed=st.floats(0.25, 1.5),
    language=st.none() | TEXT,
    models=st.lists(TEXT, max_size=2).map(tuple),
    needs=st.lists(TEXT, max_size=2).map(tuple),
    hint=TEXT,
    transcribe=st.booleans(),
    turn_detection=st.none()
    | st.builds(ServerVad, st.floats(0, 1), idle_timeout_ms=st.none() | st.integers(5000, 30_000))
    | st.builds(SemanticVad, st.sampled_from(["low", "medium", "high", "auto"]), create_response=st.booleans()),
    tools=st.lists(st.builds(Tool, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=2)), max_size=2).map(tuple),
    tool_choice=TEXT,
    max_output_tokens=st.none() | st.integers(1, 4096),
    output=st.sampled_from(["text", "audio"]),
)


@given(st.lists(ANY_ITEM, max_size=6), ANY_SETTINGS, st.booleans(), TEXT)
def test_what_goes_in_comes_out(items: list[Item], settings: CallSettings, unanswered: bool, owner: str) -> None:
    found = decode(encode(owner, items, settings, unanswered=unanswered), owner)
    assert found is not None
    assert (list(found.items), found.settings, found.unanswered) == (items, settings, unanswered)


def test_sound_and_what_is_not_said_yet_are_left_out() -> None:
    spoken = MessageItem("user", "Hello", "audio", audio=np.ones(100, np.int16))
    items: list[Item] = [
        MessageItem("user", "", "audio", audio=np.ones(100, np.int16)),  # not understood yet
        spoken,
        MessageItem("assistant", "I was just say", status="in_progress"),
        FunctionCallItem(ToolCall("c", "n", "{"), status="in_progress"),
    ]
    found = decode(encode("me", items, SETTINGS, unanswered=True), "me")
    assert found is not None
    assert list(found.items) == [replace(spoken, audio=None)]


def test_of_a_long_conversation_the_newest_turns_are_kept() -> None:
    items: list[Item] = []
    for number in range(400):
        items += [MessageItem("user", f"{number} " * 100), MessageItem("assistant", "é" * 500)]
    text = encode("me", items, SETTINGS, unanswered=False)
    found = decode(text, "me")
    assert found is not None
    assert MAX_BYTES - 3000 < len(text) <= MAX_BYTES
    assert list(found.items) == items[-len(found.items) :]
    first = found.items[0]
    assert isinstance(first, MessageItem)
    assert first.role == "user"


def test_settings_that_are_too_long_are_refused() -> None:
    with pytest.raises(TooLarge):
        encode("me", [], replace(SETTINGS, instructions="x" * MAX_BYTES), unanswered=False)


def test_half_a_surrogate_pair_is_kept_as_something() -> None:
    found = decode(encode("me", [MessageItem("user", "a\ud800b")], SETTINGS, unanswered=False), "me")
    assert found is not None
    assert [item.text for item in found.items if isinstance(item, MessageItem)] == ["a?b"]


def whole() -> dict[str, Any]:
    page = json.loads(encode("me", [MessageItem("user", "a secret")], SETTINGS, unanswered=False))
    assert isinstance(page, dict)
    return page


BROKEN: list[tuple[str, bytes]] = [
    ("cut off", encode("me", [], SETTINGS, unanswered=False)[:-1]),
    ("no JSON", b"\xff"),
    ("too deep", b"[" * 100_000),
    ("another version", json.dumps(whole() | {"version": VERSION + 1}).encode()),
    ("more than it may have", json.dumps(whole() | {"more": 1}).encode()),
    ("an item of another kind", json.dumps(whole() | {"items": [{"kind": "picture"}]}).encode()),
    ("a number for a text", json.dumps(whole() | {"owner": 1}).encode()),
]


@pytest.mark.parametrize("text", [text for _, text in BROKEN], ids=[name for name, _ in BROKEN])
def test_a_broken_one_is_passed_over_with_one_line(text: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert decode(text, "me") is None
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "a checkpoint was passed over" in line.message
    assert "secret" not in line.message


def test_somebody_else_s_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    assert decode(json.dumps(whole()).encode(), "you") is None
    assert "somebody else" in caplog.text
