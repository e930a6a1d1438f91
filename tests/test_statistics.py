import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.statistics import Summary, WordErrors, summarise, word_errors


def test_percentiles_lie_between_the_two_nearest_values() -> None:
    assert summarise(range(101)) == Summary(50.0, 90.0, 95.0, 100.0, 101)
    assert summarise([10, 20]) == Summary(15.0, 19.0, 19.5, 20.0, 2)


def test_nothing_measured_is_nothing_known() -> None:
    assert summarise([]) == Summary(None, None, None, None, 0)


@pytest.mark.parametrize(
    ("reference", "heard", "errors"),
    [
        ("the air is pure", "The air is pure.", 0),
        ("the air is pure", "the hair is pure", 1),
        ("the air is pure", "air is very pure", 2),
        ("the air is pure", "", 4),
        ("it's so", "It’s so!", 0),
        ("", "hello", 1),
    ],
)
def test_word_errors(reference: str, heard: str, errors: int) -> None:
    assert word_errors(reference, heard).errors == errors


def test_rates_add_up_by_words() -> None:
    both = word_errors("one two three", "one two") + word_errors("four", "four")
    assert both == WordErrors(1, 4)
    assert both.rate == 0.25
    assert WordErrors(0, 0).rate == 0.0


words = st.lists(st.sampled_from(["a", "b", "c"]), max_size=8).map(" ".join)


@given(words, words)
def test_the_distance_is_one(a: str, b: str) -> None:
    errors = word_errors(a, b).errors
    assert errors == word_errors(b, a).errors
    assert (errors == 0) == (a == b)
    assert abs(len(a.split()) - len(b.split())) <= errors <= max(len(a.split()), len(b.split()))
