import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.conversation.stable_text import StableText


@pytest.mark.parametrize(
    ("transcripts", "stable"),
    [
        (["The child"], ""),
        (["The child", "The child almost"], "The"),
        (["The child.", "the child, almost hurt"], "the"),
        (["The chai", "The child almost", "The child almost hurt"], "The child"),
        (["Tell me along", "Tell me along", "Tell me a long story"], "Tell me"),
        (["And so my", "And so my fellow", "An so I fell"], "And so"),
        (
            ["And so my", "And so my fellow", "An so I fell", "And so my fellow Americans", "And so my fellow"],
            "And so my fellow",
        ),
        (["", "hello", "", "hello there", "hello there"], "hello"),
        (["one two three", "one two", "one two three"], "one two"),
    ],
)
def test_what_two_in_a_row_have_in_common_is_stable_but_for_the_last_word(transcripts: list[str], stable: str) -> None:
    text = StableText()
    for transcript in transcripts:
        text.push(transcript)
    assert text.text == stable


@pytest.mark.parametrize(
    ("transcripts", "latest"),
    [
        ([], ""),
        (["The chai."], "The chai"),
        (["The child", "The child almost"], "The child almost"),
        (["The child", "The child.", "the child, almost hurt"], "The child, almost hurt"),
        (["And so my", "And so my fellow", "An so I fell"], "And so"),
    ],
)
def test_what_is_only_guessed_is_told_with_it(transcripts: list[str], latest: str) -> None:
    text = StableText()
    for transcript in transcripts:
        text.push(transcript)
    assert text.latest == latest


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", "A.", "b,"]), max_size=6).map(" ".join), max_size=12))
def test_no_word_is_taken_back_and_each_is_counted_once(transcripts: list[str]) -> None:
    text, counted, before = StableText(), 0, ""
    for transcript in transcripts:
        counted += text.push(transcript)
        assert text.text.startswith(before)
        assert text.latest.startswith(text.text)
        assert text.likely.startswith(text.text)
        assert len(text.text.split()) <= len(text.likely.split()) <= counted
        before = text.text
