import itertools
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.conversation.items import SemanticVad, ServerVad
from serve_app.conversation.judging import TurnJudge
from serve_app.options import TurnTakingOptions

Eagerness = Literal["low", "medium", "high", "auto"]
OPTIONS = TurnTakingOptions()


def first_over(judge: TurnJudge) -> int:
    """The silence in ms from which the turn is over."""
    return next(ms for ms in range(60_001) if judge.is_over(ms))


@pytest.mark.parametrize("silence_ms", [0, 200, 5000])
def test_server_vad_waits_for_its_silence_and_asks_nobody(silence_ms: int) -> None:
    judge = TurnJudge(ServerVad(silence_duration_ms=silence_ms), OPTIONS, probability=1.0)
    assert first_over(judge) == silence_ms
    assert not any(judge.wants_opinion(ms) for ms in range(0, 3000, 32))


@pytest.mark.parametrize(
    ("eagerness", "latest_ms", "patience"),
    [("low", 8000, 2.0), ("medium", 4000, 1.0), ("auto", 4000, 1.0), ("high", 2000, 0.5)],
)
def test_eagerness_sets_the_latest_end_and_the_patience_of_the_unsure(
    eagerness: Eagerness, latest_ms: int, patience: float
) -> None:
    def waits(probability: float | None) -> int:
        return first_over(TurnJudge(SemanticVad(eagerness), OPTIONS, probability=probability))

    assert waits(0.0) == latest_ms
    assert waits(None) == waits(OPTIONS.doubtful_probability) == OPTIONS.doubtful_silence_ms * patience
    assert waits(OPTIONS.unsure_probability) == OPTIONS.unsure_silence_ms * patience
    assert waits(OPTIONS.end_probability) == waits(1.0) == OPTIONS.min_silence_ms


def test_the_model_is_asked_at_once_and_then_every_so_often() -> None:
    judge = TurnJudge(SemanticVad(), OPTIONS)
    asked = [ms for ms in range(64, 1000, 32) if judge.wants_opinion(ms)]
    assert asked[0] == 64
    assert all(OPTIONS.ask_every_ms <= b - a < OPTIONS.ask_every_ms + 32 for a, b in itertools.pairwise(asked))


def test_a_whole_sentence_is_over_sooner_than_it_sounds() -> None:
    def waits(probability: float | None, sentence_end: float | None, eagerness: Eagerness = "medium") -> int:
        judge = TurnJudge(SemanticVad(eagerness), OPTIONS, probability=probability, sentence_end=sentence_end)
        return first_over(judge)

    whole, broken = OPTIONS.whole_sentence, OPTIONS.whole_sentence - 0.01
    for probability in (None, 0.0, OPTIONS.doubtful_probability):
        assert waits(probability, whole) == OPTIONS.unsure_silence_ms
        assert waits(probability, broken) == waits(probability, None) > OPTIONS.unsure_silence_ms
    assert waits(OPTIONS.unsure_probability, whole) == OPTIONS.whole_silence_ms
    assert waits(OPTIONS.unsure_probability, broken) == OPTIONS.unsure_silence_ms
    assert waits(0.0, whole, "low") == 2 * OPTIONS.unsure_silence_ms
    assert waits(OPTIONS.end_probability, whole) == OPTIONS.min_silence_ms


def test_the_llm_is_asked_only_in_doubt() -> None:
    def doubts(probability: float | None, options: TurnTakingOptions = OPTIONS) -> bool:
        return TurnJudge(SemanticVad(), options, probability=probability).doubts

    assert doubts(None)
    assert doubts(OPTIONS.end_probability - 0.01)
    assert not doubts(OPTIONS.end_probability)
    assert not doubts(0.0, TurnTakingOptions(ask_llm=False))
    assert not TurnJudge(ServerVad(), OPTIONS).doubts


@given(
    st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["low", "medium", "high"]), st.integers(0, 4000)
)
def test_more_certainty_or_more_silence_never_unends_a_turn(
    one: float, other: float, words: float, eagerness: Eagerness, silence_ms: int
) -> None:
    less, more = sorted([one, other])

    def over(probability: float, sentence_end: float | None, silence_ms: int) -> bool:
        judge = TurnJudge(SemanticVad(eagerness), OPTIONS, probability=probability, sentence_end=sentence_end)
        return judge.is_over(silence_ms)

    if over(less, words, silence_ms):
        assert over(more, words, silence_ms)
        assert over(less, words, silence_ms + 1)
    if over(words, None, silence_ms):
        assert over(words, one, silence_ms)
    if over(words, less, silence_ms):
        assert over(words, more, silence_ms)
