"""An answer's text as phrases that are worth speaking."""

import random
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.conversation.phrases import LONGEST, Phrase, SpokenPhrases


def phrases_of(text: str, *, step: int = 4) -> list[Phrase]:
    """What comes out when the text arrives `step` characters at a time."""
    phrases = SpokenPhrases()
    ready = [phrase for first in range(0, len(text), step) for phrase in phrases.push(text[first : first + step])]
    return ready + phrases.flush()


def texts(text: str, *, step: int = 4) -> list[str]:
    return [phrase.text for phrase in phrases_of(text, step=step)]


PROSE = [
    "The ",
    "weather ",
    "is ",
    "3.5 ",
    "km ",
    "Dr. ",
    "Smith ",
    "e.g. ",
    "e.g.",
    "Yes! ",
    "no, ",
    "end.\n",
    "你好。",
]
MARKS = ["1. ", "- ", "**", "*", "`", "```", "[", "(", "<b> ", "…", "# ", "\n", "😀 ", "| a | b |\n"]
WHOLE = [
    "`x y` ",
    "```\ncode. here\n```\n",
    "[a link](https://x.org/a b) ",
    "https://example.com/a.b ",
    "10 - 20 ",
    "x" * 130,
]
ANSWER = st.lists(st.sampled_from([*PROSE, *MARKS, *WHOLE]), max_size=60).map("".join)


@given(ANSWER | st.text(max_size=400), st.integers(1, 40))
def test_the_phrases_joined_are_the_text(text: str, step: int) -> None:
    assert "".join(texts(text, step=step)) == text


@given(ANSWER | st.text(max_size=400), st.integers(1, 40))
def test_only_the_last_phrase_may_have_nothing_to_say(text: str, step: int) -> None:
    phrases = phrases_of(text, step=step)
    assert all(phrase.spoken for phrase in phrases[:-1])
    assert [phrase.first for phrase in phrases] == [True, *[False] * (len(phrases) - 1)][: len(phrases)]


WORDS = st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz.,!", min_size=1, max_size=20), max_size=80)


@given(WORDS.map(" ".join), st.integers(1, 40))
def test_no_phrase_of_words_is_longer_than_eight_seconds(text: str, step: int) -> None:
    assert all(len(phrase.spoken) <= LONGEST for phrase in phrases_of(text, step=step))


@given(WORDS.map(" ".join), st.integers(1, 40))
def test_no_word_is_cut(text: str, step: int) -> None:
    assert [word for phrase in texts(text, step=step) for word in phrase.split()] == text.split()


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Sure, I can help with that.", "Sure, "),
        ("Yes! It is.", "Yes! "),
        ("The weather today is quite nice.", "The weather today "),
        ("It costs $3.50 a piece.", "It costs $3.50 a "),
        ("About 3.5 km from here, straight on.", "About 3.5 km "),
        ("Ask Dr. Smith about it.", "Ask Dr. Smith "),
        ("Fruit, e.g. apples.", "Fruit, "),
        ("Take fruit e.g. apples.", "Take fruit e.g. apples."),
        ("1. Wash the rice.", "1. Wash the "),
        (
            "See [the whole documentation](https://x.org/a b) first.",
            "See [the whole documentation](https://x.org/a b) ",
        ),
        ("Run `make all the things` first.", "Run `make all the things` "),
        ("# Rice\nWash it.", "# Rice\n"),
        ("😀 Hello there!", "😀 Hello there!"),
        ("On November 21, 2026, it rains.", "On November 21, 2026, it "),
        ("你好。今天天气很好。", "你好。"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_the_first_phrase_is_short(text: str, first: str, step: int) -> None:
    assert texts(text, step=step)[0] == first


def test_the_first_phrase_comes_with_the_beginning_of_the_fourth_word() -> None:
    phrases = SpokenPhrases()
    assert [phrases.push(token) for token in ("The", " weather", " today")] == [[], [], []]
    assert phrases.push(" is") == [Phrase("The weather today ", "The weather today", first=True)]


def test_what_is_written_after_the_first_phrase_is_known() -> None:
    phrases = SpokenPhrases()
    phrases.push("one two three")
    assert phrases.words_in_hand < 0
    phrases.push(" four fi")
    assert phrases.words_in_hand == 2
    phrases.push("ve. Six")
    assert phrases.words_in_hand == inf


def test_later_phrases_are_sentences() -> None:
    text = "Well, yes. It is warm. Mr. Smith paid 3.5 dollars, i.e. not much. Really?"
    assert texts(text)[1:] == ["yes. ", "It is warm. ", "Mr. Smith paid 3.5 dollars, i.e. not much. ", "Really?"]


def test_a_long_sentence_is_cut_where_one_would_breathe() -> None:
    text = "Oh, if you go down this long road to the very end of it, then turn left and walk on, you are there."
    assert texts(text)[1:] == [
        "if you go down this long road to the very end of it, ",
        "then turn left and walk on, you are there.",
    ]


def test_code_is_one_phrase_and_is_not_read_out() -> None:
    text = "Like this:\n```py\nx = 1\n\ny = 2  # two. three\n```\nThat is all."
    assert [phrase.spoken for phrase in phrases_of(text)] == ["Like this:", "Code omitted.", "That is all."]


def test_marks_of_markdown_are_known_across_phrases() -> None:
    text = "Well then: - no list - here\n- but one\n- here\n"
    spoken = [phrase.spoken for phrase in phrases_of(text)]
    assert spoken[0] == "Well then:"
    assert spoken[-2:] == ["but one.", "here."]


def test_nothing_is_no_phrase() -> None:
    assert SpokenPhrases().flush() == []


def test_a_long_answer_is_cut_as_it_comes() -> None:
    words = random.Random(1).choices(["some", "words,", "and", "more.", "of", "them"], k=2000)
    phrases = SpokenPhrases()
    waiting = 0
    for word in words:
        waiting += len(word) + 1 - sum(len(phrase.text) for phrase in phrases.push(f" {word}"))
        assert waiting <= LONGEST + 8


# --- before the voice falls silent


def after_the_first(text: str) -> SpokenPhrases:
    """The first phrase has been given, and this was written since."""
    phrases = SpokenPhrases()
    assert phrases.push("Well, ")
    assert phrases.push(text) == []
    return phrases


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("the old man went hom", "the old man went"),  # the last word may not be whole
        ("the old man went home ", "the old man went home"),
        ("it was about 20 min", "it was about"),  # a unit may follow
        ("look at https://example.org/a", "look at"),
    ],
)
def test_it_ends_after_a_word_that_is_surely_whole(written: str, spoken: str) -> None:
    phrases = after_the_first(written)
    if len(spoken.split()) < 3:
        assert phrases.hurry() == []
    else:
        (phrase,) = phrases.hurry()
        assert phrase.spoken.rstrip(". ") == spoken
        assert not phrase.first


def test_a_word_or_two_are_waited_for() -> None:
    assert after_the_first("the old ma").hurry() == []


def test_of_the_first_phrase_there_is_no_hurry() -> None:
    phrases = SpokenPhrases()
    assert phrases.push("the old man") == []
    assert phrases.hurry(1) == []


@given(st.lists(st.text("abc .,19`\n", min_size=1, max_size=12), min_size=1, max_size=12))
def test_nothing_is_lost_whenever_it_hurries(deltas: list[str]) -> None:
    phrases = SpokenPhrases()
    given = [phrase for delta in deltas for phrase in (*phrases.push(delta), *phrases.hurry())] + phrases.flush()
    assert "".join(phrase.text for phrase in given) == "".join(deltas)
