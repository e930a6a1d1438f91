"""How many words an answer begins with."""

from math import inf

from serve_app.conversation.phrases import FIRST_WORDS
from serve_app.opening import LESS, MOST_WORDS, SHARED_WORDS, Opening, Words


def test_it_grows_where_voices_fall_silent_and_no_further_than_is_good() -> None:
    words = Words(FIRST_WORDS)
    assert int(words) == FIRST_WORDS
    words.second_phrase_came(0.0)
    words.second_phrase_came(0.05)
    assert int(words) == FIRST_WORDS + 2
    for _ in range(20):
        words.second_phrase_came(0.0)
    assert int(words) == MOST_WORDS


def test_it_shrinks_slowly_where_there_is_time_and_stays_where_there_is_just_enough() -> None:
    words = Words(FIRST_WORDS)
    words.second_phrase_came(0.0)
    words.second_phrase_came(0.2)
    words.second_phrase_came(inf)
    assert int(words) == FIRST_WORDS + 1
    for _ in range(round(1 / LESS)):
        words.second_phrase_came(1.0)
    assert int(words) == FIRST_WORDS
    words.second_phrase_came(1.0)
    assert int(words) == FIRST_WORDS


def test_calls_beside_each_other_begin_with_more_and_learn_apart_from_one_that_is_alone() -> None:
    opening = Opening()
    with opening.call():
        assert int(opening.words) == FIRST_WORDS
        with opening.call():
            assert int(opening.words) == SHARED_WORDS > FIRST_WORDS
            for _ in range(round(1 / LESS)):
                opening.words.second_phrase_came(1.0)
            assert int(opening.words) == SHARED_WORDS - 1
            opening.words.second_phrase_came(0.2)
            assert int(opening.words) == SHARED_WORDS
        assert int(opening.words) == FIRST_WORDS
        opening.words.second_phrase_came(0.2)
        assert int(opening.words) == FIRST_WORDS, "for one alone that was enough"
