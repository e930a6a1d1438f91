import itertools
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.call_options import TurnTakingOptions
from serve_app.conversation.items import SemanticVad, ServerVad
from serve_app.conversation.judging import TurnJudge, certainty

Eagerness = Literal["low", "medium", "high", "auto"]
OPTIONS = TurnTakingOptions()
LONGEST_MS: dict[Eagerness, int] = {"low": 8000, "medium": 3000, "auto": 3000, "high": 2000}
PROBABILITIES = st.floats(0, 1)
OPINIONS = st.none() | PROBABILITIES
WEIGHTS = st.builds(
    TurnTakingOptions,
    sound_weight=st.floats(0, 10),
    words_weight=st.floats(0, 10),
    certainty_offset=st.floats(-20, 20),
    min_silence_ms=st.integers(0, 5000),
    words_wait_ms=st.integers(0, 5000),
)


def first_over(judge: TurnJudge) -> int:
    """The silence in ms from which the turn is over."""
    return next(ms for ms in range(60_001) if judge.is_over(ms))


def waits_ms(
    probability: float | None,
    sentence_end: float | None,
    eagerness: Eagerness = "medium",
    options: TurnTakingOptions = OPTIONS,
) -> int:
    return first_over(TurnJudge(SemanticVad(eagerness), options, probability=probability, sentence_end=sentence_end))


@pytest.mark.parametrize("silence_ms", [0, 200, 5000])
def test_server_vad_waits_for_its_silence_and_asks_nobody(silence_ms: int) -> None:
    judge = TurnJudge(ServerVad(silence_duration_ms=silence_ms), OPTIONS, probability=1.0)
    assert first_over(judge) == silence_ms
    assert not judge.doubts
    assert not any(judge.wants_opinion(ms) for ms in range(0, 3000, 32))


@pytest.mark.parametrize("eagerness", LONGEST_MS)
def test_eagerness_sets_the_latest_end_and_the_patience_of_the_unsure(eagerness: Eagerness) -> None:
    certain = TurnTakingOptions(certainty_offset=20)
    never = TurnTakingOptions(certainty_offset=-20)
    assert waits_ms(1.0, 1.0, eagerness, certain) == pytest.approx(certain.min_silence_ms, abs=1)
    assert waits_ms(0.0, 0.0, eagerness, never) == pytest.approx(LONGEST_MS[eagerness], abs=1)
    assert waits_ms(0.5, 0.1, "high") < waits_ms(0.5, 0.1, "medium") < waits_ms(0.5, 0.1, "low")
    assert waits_ms(0.5, 0.1, "auto") == waits_ms(0.5, 0.1, "medium")


def test_what_finished_and_unfinished_turns_wait() -> None:
    """Opinions of the local models on people's turns: 'the pencils have all been used', 'and so my fellow Americans'
    (smart-turn is sure that this is all), 'ask not'."""
    assert waits_ms(0.98, 0.8) < 300
    assert waits_ms(0.6, 0.15) < 1000
    assert waits_ms(0.97, 0.05) > 1120
    assert waits_ms(0.03, 0.03) > 2000


def test_the_model_is_asked_at_once_and_then_every_so_often() -> None:
    judge = TurnJudge(SemanticVad(), OPTIONS)
    asked = [ms for ms in range(64, 1000, 32) if judge.wants_opinion(ms)]
    assert asked[0] == 64
    assert all(OPTIONS.ask_every_ms <= b - a < OPTIONS.ask_every_ms + 32 for a, b in itertools.pairwise(asked))


def test_the_verdict_waits_for_the_words_but_not_for_ever() -> None:
    certain = TurnTakingOptions(certainty_offset=20)
    assert waits_ms(1.0, None, options=certain) == pytest.approx(certain.words_wait_ms, abs=1)
    alone = certain.model_copy(update={"ask_llm": False})
    assert waits_ms(1.0, None, options=alone) == pytest.approx(certain.min_silence_ms, abs=1)


def test_the_llm_is_asked_where_it_counts() -> None:
    assert TurnJudge(SemanticVad(), OPTIONS).doubts
    assert not TurnJudge(SemanticVad(), TurnTakingOptions(ask_llm=False)).doubts
    assert not TurnJudge(SemanticVad(create_response=False), OPTIONS).doubts


@given(WEIGHTS, OPINIONS, OPINIONS, PROBABILITIES, PROBABILITIES)
def test_certainty_grows_with_each_opinion(
    options: TurnTakingOptions, sound: float | None, words: float | None, one: float, other: float
) -> None:
    less, more = sorted([one, other])
    assert 0 <= certainty(options, less, words) <= certainty(options, more, words) <= 1
    assert certainty(options, sound, less) <= certainty(options, sound, more)
    assert certainty(options, None, words) == certainty(options, options.unknown_probability, words)
    assert certainty(options, sound, None) == certainty(options, sound, options.unknown_sentence)


@given(
    WEIGHTS, PROBABILITIES, PROBABILITIES, OPINIONS, st.sampled_from(["low", "medium", "high"]), st.integers(0, 9000)
)
def test_more_certainty_or_more_silence_never_unends_a_turn(
    options: TurnTakingOptions, one: float, other: float, known: float | None, eagerness: Eagerness, silence_ms: int
) -> None:
    less, more = sorted([one, other])

    def over(probability: float | None, sentence_end: float | None, silence_ms: int) -> bool:
        judge = TurnJudge(SemanticVad(eagerness), options, probability=probability, sentence_end=sentence_end)
        return judge.is_over(silence_ms)

    if over(less, known, silence_ms):
        assert over(more, known, silence_ms)
        assert over(less, known, silence_ms + 1)
    if over(known, less, silence_ms):
        assert over(known, more, silence_ms)
        assert over(known, less, silence_ms + 1)
    assert over(known, less, LONGEST_MS[eagerness] + 1)
