"""From facts to the table."""

import pytest

from loadtest.facts import Count, Facts, Spoken
from loadtest.rows import COUNTS, FIGURES, as_message, gathered, rows_of, table, words_off


def test_every_row_is_there_and_the_table_shows_those_with_something_in_them() -> None:
    good, bad = Facts(), Facts()
    good.add("voice_to_voice_ms", 500)
    bad.add("voice_to_voice_ms", 700)
    good.add("server_first_token_ms", 50)
    good.chance("false_cut_ins", False)
    bad.chance("false_cut_ins", True)
    rows = rows_of([good, bad], gathered([good, bad]))
    assert list(rows) == [*FIGURES, *COUNTS]
    assert rows["false_cut_ins"] == Count(1, 2)
    shown = table(rows)
    assert "false_cut_ins" in shown
    assert "1 of 2" in shown
    assert "barge_in_ms" not in shown
    assert shown.split("voice_to_voice_ms", 1)[1].split()[:5] == ["600.0", "680.0", "690.0", "700.0", "2"]
    assert "server_first_token_ms *" in shown
    message = as_message(rows)
    assert message["voice_to_voice_ms"]["n"] == 2
    assert message["barge_in_ms"]["p50"] is None
    assert message["false_cut_ins"] == {"happened": 1, "chances": 2}


def answer(text: str, voiced_s: float, *, whole: bool) -> Spoken:
    return Spoken(text, 0, 0, voiced_s, whole)


WHOLE = [answer("a b c d", 2.0, whole=True), answer("a b c d e f", 3.0, whole=True)]


@pytest.mark.parametrize(
    ("kept", "voiced_s", "off"), [("a b", 1.0, (0, 0)), ("a b c d", 1.0, (2, 0)), ("", 1.0, (0, 2))]
)
def test_words_kept_are_reckoned_by_the_pace_of_whole_answers(kept: str, voiced_s: float, off: tuple[int, int]) -> None:
    assert words_off([*WHOLE, answer(kept, voiced_s, whole=False)]) == [off]


def test_one_whole_answer_is_no_pace() -> None:
    assert words_off([WHOLE[0], answer("a", 1.0, whole=False)]) == []


@pytest.mark.parametrize(
    ("kept", "heard", "off"),
    [
        ("one two three", "one two", (1, 0)),
        ("One, two", "one two three four", (0, 2)),
        ("one too three", "one two three", (0, 0)),  # misheard in the middle
        ("", "one", (0, 1)),
    ],
)
def test_a_transcriber_says_what_was_heard(kept: str, heard: str, off: tuple[int, int]) -> None:
    cut = answer(kept, 1.0, whole=False)
    assert words_off([cut], {cut: heard}) == [off]
    facts = Facts(spoken=[cut])
    assert gathered([facts], {cut: heard})["history_unheard_words"] == [off[0]]
