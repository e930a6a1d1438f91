import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.contracts import Message, ToolCall
from deployments.errors import BadRequest
from serve_app.conversation.history import (
    MAX_CHARS,
    MAX_ITEMS,
    MAX_TEXT_CHARS,
    History,
    Spoken,
    heard_text,
    messages,
)
from serve_app.conversation.items import FunctionCallItem, FunctionOutputItem, Item, MessageItem

PHRASES = [Spoken("One two three", 900), Spoken(" four five six.", 1500)]


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (-5, ""),
        (0, ""),
        (150, "One"),
        (300, "One"),
        (450, "One two"),
        (899, "One two three"),
        (900, "One two three"),
        (1200, "One two three four"),
        (2400, "One two three four five six."),
        (99_999, "One two three four five six."),
    ],
)
def test_only_words_that_were_heard_are_kept(heard_ms: float, text: str) -> None:
    assert heard_text(PHRASES, heard_ms) == text


@given(
    st.lists(st.tuples(st.text(alphabet="ab .,", min_size=1), st.integers(0, 2000)), max_size=6), st.integers(0, 9000)
)
def test_what_was_heard_is_always_a_beginning_and_grows(phrases: list[tuple[str, int]], heard_ms: int) -> None:
    spoken = [Spoken(text, ms) for text, ms in phrases]
    whole, heard = "".join(text for text, _ in phrases), heard_text(spoken, heard_ms)
    assert whole.startswith(heard)
    assert heard_text(spoken, heard_ms + 50).startswith(heard)
    assert heard_text(spoken, sum(ms for _, ms in phrases)) == whole


def spoken(history: History) -> MessageItem:
    item = MessageItem("assistant", "One two three four five six.", "audio")
    history.add(item)
    for phrase in PHRASES:
        history.speak(item, phrase)
    return item


def test_cutting_an_answer_leaves_what_was_heard() -> None:
    history = History(1000)
    item = spoken(history)
    history.cut(item, 1200)
    assert (item.text, item.heard_ms, item.status) == ("One two three four", 1200, "incomplete")


def test_an_llm_sees_that_an_answer_was_broken_off_and_no_other() -> None:
    history = History(1000)
    item = spoken(history)
    assert history.prompt("")[1] == Message("assistant", "One two three four five six.")
    history.cut(item, 1200)
    history.add(MessageItem("user", "five", status="incomplete"))
    assert history.prompt("")[1:] == [Message("assistant", "One two three four …"), Message("user", "five")]


def test_an_answer_heard_to_its_end_stays_whole() -> None:
    history = History(1000)
    item = spoken(history)
    history.cut(item, 2400)
    assert (item.text, item.heard_ms, item.status) == ("One two three four five six.", None, "completed")


@pytest.mark.parametrize(
    ("item_id", "index", "heard_ms", "names"),
    [("item_x", 0, 10, "item_x"), ("typed", 0, 10, "typed"), (None, 1, 10, "content part"), (None, 0, 9999, "2400 ms")],
)
def test_what_cannot_be_cut_is_said(item_id: str | None, index: int, heard_ms: int, names: str) -> None:
    history = History(1000)
    history.add(MessageItem("user", "hi", id="typed"))
    item = spoken(history)
    assert history.check_cut(item.id, 0, 2000) is item
    with pytest.raises(BadRequest, match=names):
        history.check_cut(item_id or item.id, index, heard_ms)


def test_items_are_put_where_they_are_wanted() -> None:
    history = History(1000)
    a, b, c, d = (MessageItem("user", name, id=name) for name in "abcd")
    assert history.add(a) is None
    assert history.add(b) == "a"
    assert history.add(c, "a") == "a"
    assert history.add(d, "root") is None
    assert [item.id for item in history.items] == ["d", "a", "c", "b"]
    assert history.previous_id(b) == "c"
    assert history.previous_id(MessageItem("user", "not in it")) is None
    history.delete("a")
    assert [item.id for item in history.items] == ["d", "c", "b"]


def test_wrong_ids_are_named() -> None:
    history = History(1000)
    history.add(MessageItem("user", "hi", id="item_1"))
    history.add(FunctionCallItem(ToolCall("call_1", "look", "{}")))
    wrong: list[tuple[Item, str | None, str]] = [
        (MessageItem("user", "again", id="item_1"), None, "item_1"),
        (MessageItem("user", "after"), "item_9", "item_9"),
        (FunctionOutputItem("call_9", "out"), None, "call_9.*known: call_1"),
    ]
    for item, after, names in wrong:
        with pytest.raises(BadRequest, match=names):
            history.add(item, after)
    with pytest.raises(BadRequest, match="item_9"):
        history.get("item_9")
    with pytest.raises(BadRequest, match="item_9"):
        history.delete("item_9")
    assert len(history.items) == 2


def test_items_become_messages_and_those_without_words_do_not() -> None:
    call = ToolCall("call_1", "look", '{"at": "sky"}')
    items: list[Item] = [
        MessageItem("user", " look up "),
        MessageItem("user", "", "audio"),
        FunctionCallItem(call),
        FunctionOutputItem("call_1", "blue"),
        MessageItem("assistant", "Blue."),
    ]
    assert messages(items) == [
        Message("user", "look up"),
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "blue", call_id="call_1"),
        Message("assistant", "Blue."),
    ]


def test_the_prompts_beginning_stays_the_same_for_many_turns() -> None:
    history, starts, longest = History(400), [], 0
    for n in range(60):
        history.add(MessageItem("user", f"question {n} " + "x" * 60))
        history.add(MessageItem("assistant", "y" * 60))
        prompt = history.prompt("Be brief.")
        assert prompt[0] == Message("system", "Be brief.")
        assert prompt[1].role == "user"
        assert prompt[-1].role == "assistant"
        starts.append(prompt[1].text)
        longest = max(longest, sum(len(message.text) for message in prompt))
    changes = sum(a != b for a, b in itertools.pairwise(starts))
    assert 2 <= changes <= 60 * 2 * 20 // 200  # half of the limit is freed at once
    assert longest <= 400 * 4


def test_room_is_made_before_it_is_needed_and_only_once() -> None:
    history = History(400)
    while not history.compact(100):
        history.add(MessageItem("user", "x" * 60))
        history.add(MessageItem("assistant", "y" * 60))
    shown = history.prompt("Be.")
    assert 2 < len(shown) < len(history.items)
    assert not history.compact(100)
    history.add(MessageItem("user", "x" * 300))
    assert history.prompt("Be.")[: len(shown)] == shown


def test_a_single_huge_turn_is_still_shown() -> None:
    history = History(64)
    history.add(MessageItem("user", "old"))
    history.add(MessageItem("user", "z" * 5000))
    assert [message.text[:3] for message in history.prompt("Be.")] == ["Be.", "zzz"]


def test_deleting_the_oldest_shown_item_brings_nothing_long_gone_back() -> None:
    history = History(64)
    for n in range(20):
        history.add(MessageItem("user", f"{n} " + "x" * 40, id=f"item_{n}"))
    shown = history.prompt("Be.")
    first = next(item.id for item in history.items if isinstance(item, MessageItem) and item.text == shown[1].text)
    history.delete(first)
    assert history.prompt("Be.") == [shown[0], *shown[2:]]


def test_an_error_says_where_the_unknown_id_stood() -> None:
    history = History(400)
    with pytest.raises(BadRequest) as created:
        history.add(MessageItem("user", "hello"), after="item_9")
    with pytest.raises(BadRequest) as referred:
        history.get("item_9", "response.input[0].id")
    assert (created.value.field, referred.value.field) == ("previous_item_id", "response.input[0].id")


@pytest.mark.parametrize(
    ("item", "field"),
    [
        (MessageItem("user", "x" * (MAX_TEXT_CHARS + 1)), "item.content"),
        (FunctionCallItem(ToolCall("call_1", "look", "x" * (MAX_TEXT_CHARS + 1))), "item.arguments"),
        (FunctionOutputItem("call_1", "x" * (MAX_TEXT_CHARS + 1)), "item.output"),
    ],
)
def test_an_endless_text_is_refused(item: Item, field: str) -> None:
    history = History(400)
    history.add(MessageItem("user", "x" * MAX_TEXT_CHARS))
    with pytest.raises(BadRequest, match=field) as refused:
        history.add(item)
    assert (refused.value.field, refused.value.code) == (field, "string_above_max_length")


def full_of_items() -> History:
    history = History(400)
    history.items = [MessageItem("user", "hello", id=f"item_{n}") for n in range(MAX_ITEMS)]
    return history


def full_of_text() -> History:
    history = History(400)
    for _ in range(MAX_CHARS // MAX_TEXT_CHARS):
        history.add(MessageItem("user", "x" * MAX_TEXT_CHARS))
    return history


@pytest.mark.parametrize("history", [full_of_items(), full_of_text()], ids=["items", "text"])
def test_a_full_conversation_takes_an_item_again_when_one_is_deleted(history: History) -> None:
    with pytest.raises(BadRequest, match="full") as refused:
        history.add(MessageItem("user", "more"))
    assert refused.value.code == "conversation_too_long"
    history.delete(history.items[0].id)
    history.add(MessageItem("user", "more"))


def test_what_is_said_in_a_full_conversation_pushes_out_the_oldest() -> None:
    history = full_of_items()
    answer = MessageItem("assistant", "", "audio", id="answer", status="in_progress")
    turn = MessageItem("user", "", "audio", audio=np.zeros(160, np.int16), id="turn")
    assert history.add(turn) == f"item_{MAX_ITEMS - 1}"
    assert history.add(answer) == "turn"
    assert (len(history.items), history.items[0].id) == (MAX_ITEMS, "item_2")
    assert history.add(MessageItem("user", "", audio=turn.audio, id="first"), "root") is None
    assert (len(history.items), history.items[0].id) == (MAX_ITEMS, "first")
