"""How many words an answer begins with."""

from math import inf

from serve_app.conversation.phrases import FIRST_WORDS
from serve_app.opening import LESS, MOST_WORDS, Opening


def test_it_grows_where_voices_fall_silent_and_no_further_than_is_good() -> None:
    opening = Opening()
    assert opening.words == FIRST_WORDS
    opening.second_phrase_came(0.0)
    opening.second_phrase_came(0.05)
    assert opening.words == FIRST_WORDS + 2
    for _ in range(20):
        opening.second_phrase_came(0.0)
    assert opening.words == MOST_WORDS


def test_it_shrinks_slowly_where_there_is_time_and_stays_where_there_is_just_enough() -> None:
    opening = Opening()
    opening.second_phrase_came(0.0)
    opening.second_phrase_came(0.2)
    opening.second_phrase_came(inf)
    assert opening.words == FIRST_WORDS + 1
    for _ in range(round(1 / LESS)):
        opening.second_phrase_came(1.0)
    assert opening.words == FIRST_WORDS
    opening.second_phrase_came(1.0)
    assert opening.words == FIRST_WORDS
