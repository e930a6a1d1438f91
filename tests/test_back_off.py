"""When models are busy with turns that somebody waits for, and what a call then leaves undone."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from deployments.options import Timing
from serve_app.back_off import BUSY, FRESH_S, LEAST_S, BackOff
from serve_app.call_options import CallOptions
from serve_app.conversation import messages as m
from serve_app.stage import Common
from tests.call_kit import PATIENCE_S, Rig, calling, prepared, said, silence, speaking, synthetic_llm
from tests.test_partials import WORDS, Asr, give_slowly

NEVER = Timing(first_item_ms=1e6)


class Clock:
    """Moved by the test."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Models:
    """Transcripts that take as long as the test says, and the back-off that measures them."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.back_off = BackOff(self.clock)

    def take(self, *seconds: float, audio_s: float = 1.0) -> None:
        for each in seconds:
            with self.back_off.transcribing(audio_s):
                self.clock.now_s += each


def test_slow_models_are_busy_only_where_another_call_waits() -> None:
    models = Models()
    models.take(0.1, 0.1, 0.3, 0.3, 0.3)
    assert models.back_off.slowness() == pytest.approx(3, rel=0.05)
    assert not models.back_off.busy_for("me")
    models.back_off.waits("me")
    assert not models.back_off.busy_for("me")
    assert models.back_off.busy_for("another")
    models.back_off.answered("me")
    assert not models.back_off.busy_for("another")


def test_a_call_that_waits_for_quick_models_holds_nobody_back() -> None:
    models = Models()
    models.back_off.waits("another")
    assert models.back_off.slowness() == 0
    models.take(0.1, 0.12, 0.15)
    assert 1 <= models.back_off.slowness() < BUSY
    assert not models.back_off.busy_for("me")


def test_one_slow_transcript_among_quick_ones_is_chance() -> None:
    models = Models()
    models.take(0.1, 0.1, 0.9, 0.1)
    assert models.back_off.slowness() < BUSY


def test_a_transcript_under_way_counts_as_it_stands() -> None:
    models = Models()
    models.take(0.1)
    with models.back_off.transcribing(1.0):
        models.clock.now_s += 0.25
        assert models.back_off.slowness() == pytest.approx(2.5, rel=0.05)


def test_what_was_slow_a_while_ago_says_nothing_about_now() -> None:
    models = Models()
    models.take(0.1, 0.3, 0.3)
    models.clock.now_s += FRESH_S + 0.1
    assert models.back_off.slowness() == 0


def test_long_audio_may_take_longer() -> None:
    models = Models()
    models.take(0.1, 0.1)
    models.take(0.5, 0.5, 0.5, audio_s=12.0)
    assert models.back_off.slowness() < BUSY


def test_twice_next_to_nothing_is_not_busy() -> None:
    models = Models()
    models.take(0.001, *[LEAST_S * 1.5] * 5)
    assert models.back_off.slowness() < BUSY


def test_a_lucky_best_does_not_count_for_ever() -> None:
    models = Models()
    models.take(0.1, *[0.3] * 150)
    assert models.back_off.slowness() == pytest.approx(1, rel=0.05)


def test_a_failed_transcript_says_nothing() -> None:
    models = Models()
    models.take(0.1)
    with suppress(TimeoutError), models.back_off.transcribing(1.0):
        models.clock.now_s += 1
        raise TimeoutError
    assert models.back_off.slowness() == pytest.approx(1)


def test_who_was_held_back_is_told_when_the_last_waiting_call_is_answered() -> None:
    models, told = Models(), []
    models.take(0.1, 0.3, 0.3)
    models.back_off.waits("one")
    models.back_off.waits("two")
    with models.back_off.told_when_calm("me", lambda: told.append("calm")):
        models.back_off.answered("one")
        assert told == []
        models.back_off.answered("two")
        assert told == ["calm"]
    models.back_off.answered("two")
    assert told == ["calm"]


# --- in calls


@contextmanager
def busy_models() -> Iterator[Common]:
    """A transcript is under way for long, while the block lasts."""
    models, common = Models(), Common()
    common.back_off = models.back_off
    models.take(0.1)
    with models.back_off.transcribing(1.0):
        models.clock.now_s += 10
        yield common


async def waiting_for_ever(rig: Rig) -> None:
    rig.line.give(said("hello there", pause_ms=5000))
    await rig.line.state("thinking")


async def asked_whether_the_sentence_is_over(rig: Rig) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not rig.models.judged:  # noqa: ASYNC110  an opinion makes no event
            await asyncio.sleep(0.001)
    for _ in range(20):  # it would go on to the answer at once
        await asyncio.sleep(0)


async def test_an_answer_is_not_written_in_advance_but_when_it_is_wanted() -> None:
    with busy_models() as common:
        one = calling(name="one", common=common, llm=synthetic_llm(NEVER))
        async with one as waiting, calling(name="other", common=common) as other:
            await waiting_for_ever(waiting)
            assert common.back_off.waiting == 1
            other.line.give(said("i would like the,", pause_ms=100))
            await asked_whether_the_sentence_is_over(other)
            assert other.models.prompts == []
            other.line.give(silence(5000))
            await other.line.wait(m.TurnTimed)
            assert len(other.models.prompts) == 1
            assert other.texts()[-1] == ("assistant", "You said: i would like the.")
        assert common.back_off.waiting == 0


async def test_a_call_waits_from_the_end_of_the_turn_to_the_first_sound() -> None:
    async with calling() as rig:
        rig.line.give(said("tell me a very long story about everything there is.", pause_ms=0))
        await rig.line.state("hearing")
        assert rig.call.stage.common.back_off.waiting == 0
        rig.line.give(silence(5000))
        await rig.line.state("thinking")
        await speaking(rig)
        assert rig.call.stage.common.back_off.waiting == 0


async def test_it_is_written_once_nobody_else_waits() -> None:
    with busy_models() as common:
        common.back_off.waits("another")
        async with calling(common=common) as rig:
            rig.line.give(said("i would like the,", pause_ms=100))
            await asked_whether_the_sentence_is_over(rig)
            assert rig.models.prompts == []
            common.back_off.answered("another")
            await prepared(rig)
            assert rig.call.turn is not None, "the caller's turn is not over yet"


async def test_no_partials_are_made_meanwhile() -> None:
    with busy_models() as common:
        common.back_off.waits("another")
        asr = Asr()
        async with calling(common=common, asr=asr) as rig:
            await give_slowly(rig, said(WORDS, pause_ms=0))
            assert asr.asked == []
            common.back_off.answered("another")
            await give_slowly(rig, said(WORDS, pause_ms=0))
            assert asr.asked


async def test_the_setting_switches_it_off() -> None:
    with busy_models() as common:
        common.back_off.waits("another")
        async with calling(common=common, options=CallOptions(prefill=False, back_off=False)) as rig:
            rig.line.give(said("i would like the,", pause_ms=100))
            await prepared(rig)
