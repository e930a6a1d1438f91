import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.conversation.speakable import NEVER_SPOKEN, speakable

CASES = {
    # Markdown
    "# Weather\nIt rains": "Weather. It rains",
    "**bold**, *slanted* and _this_, not snake_case": "bold, slanted and this, not snake case",
    "~~gone~~": "gone",
    "- one\n- two\n": "one. two.",
    "* [x] done\n* [ ] open\n": "done. open.",
    "1. First\n2) Second\n": "1, First. 2, Second.",
    "| Name | Age |\n|:-----|----:|\n| Ann | 7 |\n": "Name, Age. Ann, 7.",
    "> quoted": "quoted",
    "before\n\n---\n\nafter": "before after",
    "Title\n=====\ntext": "Title text",
    "see [the docs](https://example.org/a), please": "see the docs, please",
    "![a cat](cat.png)": "a cat",
    "as shown [1] (see [2])": "as shown (see)",
    "```py\nx = 1\n```\nDone": "Code omitted. Done",
    "```\nnever closed": "Code omitted.",
    "use `print()` now": "use print now",
    "one<br>two &amp; <b>three</b>": "one two and three",
    "***": "",
    "\\*not bold\\*": "not bold",
    # links and pictures
    "Go to https://www.example.com/a/b?c=d.": "Go to link to example dot com.",
    "<https://my-site.org>": "link to my site dot org",
    "write to jo.e@mail.com": "write to jo dot e at mail dot com",
    "Hi 😀👍🏽 there 👨‍👩‍👧 🇩🇪": "Hi there",
    "Fine :)": "Fine",
    # numbers and units
    "3.5 km": "3.5 kilometres",
    "1 km": "1 kilometre",
    "100 km/h": "100 kilometres per hour",
    "20 °C": "20 degrees Celsius",
    "-5°C": "minus 5 degrees Celsius",
    "5 %": "5 percent",
    "12 m² of 5GB": "12 square metres of 5 gigabytes",
    "$3.50": "3 dollars 50",
    "$1": "1 dollar",
    "€20 or 20 €": "20 euros or 20 euros",
    "$1.5M, £3 million": "1.5 million dollars, 3 million pounds",
    "1,234,567": "1234567",
    "1/2 or 3/4 or 7/9": "one half or three quarters or 7 over 9",
    "½ cup": "one half cup",
    "the 3rd": "the 3rd",
    "the 1990s, the '60s, the 2000s": "the 19 nineties, the sixties, the two thousands",
    "in 1984 and 1905": "in 19 84 and 1905",
    "v2.3 and version 1.0.2": "version 2 point 3 and version 1 point 0 point 2",
    "192.168.0.1": "192 dot 168 dot 0 dot 1",
    "10-20, 5–6 kg, 10 - 20 min": "10 to 20, 5 to 6 kilograms, 10 to 20 minutes",
    "$5-$10": "5 dollars to 10 dollars",
    "+49 30 123456": "plus 4 9, 3 0, 1 2 3 4 5 6",
    "555-123-4567": "5 5 5, 1 2 3, 4 5 6 7",
    "1920x1080": "1920 by 1080",
    "3x faster": "3 times faster",
    # times and dates
    "10:30": "10 30",
    "10:00": "10 o'clock",
    "9:05 a.m. or 10:00 PM": "9 oh 5 a m or 10 p m",
    "at 5 pm. Then": "at 5 p m. Then",
    "2026-11-21": "November 21, 2026",
    "16:9": "16 to 9",
    # symbols
    "Tom & Jerry": "Tom and Jerry",
    "@joe is #1": "at joe is number 1",
    "C# and C++": "C sharp and C plus plus",
    "A → B, x ≈ 5, ~5": "A to B, x about 5, about 5",
    "3 × 4 = 12": "3 times 4 equals 12",
    "5 - 3": "5 minus 3",
    "x > 5, y <= 3": "x is greater than 5, y at most 3",
    "x² + y³": "x squared plus y cubed",
    "and/or": "and or",
    "wait — what": "wait, what",
    # abbreviations
    "Dr. Smith vs. Mr. Jones": "Doctor Smith versus Mister Jones",
    "fruit, e.g. apples, i.e. food": "fruit, for example, apples, that is, food",
    "apples, pears, etc.": "apples, pears, et cetera.",
    "the U.S. and No. 5": "the U S and number 5",
    # what needs nothing
    "A well-known, plain sentence; isn't it?": "A well-known, plain sentence; isn't it?",
    "42 apples": "42 apples",
    "你好，世界。": "你好，世界。",
    "Привет, как дела?": "Привет, как дела?",
    "हिन्दी": "हिन्दी",
    "": "",
    " \n ": "",
    "…!?": "",
}


@pytest.mark.parametrize("written", CASES)
def test_what_is_written_is_spoken_as(written: str) -> None:
    assert speakable(written) == CASES[written]


def test_marks_of_lines_are_only_at_their_start() -> None:
    assert speakable("1. rest of a line", line_start=False) == "1. rest of a line"


@given(st.text(max_size=300) | st.text(alphabet="*_#<>|[]{}()`~-+=/.:;$€%@&0123456789ax \n", max_size=300))
def test_anything_becomes_something_that_can_be_spoken(written: str) -> None:
    spoken = speakable(written)
    assert not set(spoken) & set(NEVER_SPOKEN)
    assert spoken == spoken.strip()
    assert not spoken or any(character.isalnum() for character in spoken)
    assert len(spoken) <= 20 * len(written)


@given(st.lists(st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=3, max_size=8), min_size=1, max_size=20))
def test_plain_words_stay_as_they_are(words: list[str]) -> None:
    assert speakable(" ".join(words)) == " ".join(words)
