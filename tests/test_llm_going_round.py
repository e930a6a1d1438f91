"""When is an answer going round?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.llm.going_round import LEAST, LONGEST, ROUNDS, GoingRound


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("The moon is very very very very very very", True),
        ("The moon is very very very veryveryvery", True),
        ("I am here to help. I am here to help. I am here to help", True),
        ("1000000000000000000000000", True),
        ("哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈", True),
        ("Ha ha ha, no no no, no, no. Very, very, very far.", False),
        ("Row, row, row your boat, gently down the stream. Row, row, row your boat.", False),
        ("I am here to help. I am here to help. How are you?", False),
        ("One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve.", False),
    ],
)
def test_what_is_found_and_when(text: str, ends: bool) -> None:
    """With its last letter, if at all."""
    watch = GoingRound()
    found = [watch.push(letter) for letter in text]
    assert found.index(True) == len(text) - 1 if ends else not any(found)


TEXTS = st.lists(st.sampled_from(["ab", "a", "ba ", "cd, "]), max_size=60).map("".join)


def goes_round(said: str) -> bool:
    """By another way: the text is cut into rounds, and they are compared."""
    for length in range(1, LONGEST + 1):
        span = max(ROUNDS * length, LEAST)
        last = said[len(said) - span :] if len(said) >= span else ""
        if last and all(letter == last[place % length] for place, letter in enumerate(last)):
            return True
    return False


@given(TEXTS, st.integers(1, 5))
def test_it_is_found_however_the_text_is_broken(text: str, size: int) -> None:
    watch = GoingRound()
    found = any(watch.push(text[at : at + size]) for at in range(0, len(text), size))
    said = "".join(filter(str.isalnum, text))
    assert found == any(goes_round(said[:end]) for end in range(1, len(said) + 1))
