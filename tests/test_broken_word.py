"""An agent that was silenced for nothing goes on with the word that was broken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.contracts import Pcm
from serve_app.conversation.broken_word import QUIET_PEAK, broken_word_samples, quiet_samples
from serve_app.conversation.items import Answer, AnswerOptions, MessageItem
from serve_app.conversation.messages import AnswerText
from serve_app.paced_outbox import PacedOutbox
from tests.call_kit import PLAY_RATE_HZ as RATE_HZ
from tests.call_kit import PacedLine
from tests.test_paced_outbox import asked

ITEM = MessageItem("assistant", "", "audio")
MS = RATE_HZ // 1000


def voice(milliseconds: int, level: float = 8000.0) -> Pcm:
    times = np.arange(milliseconds * MS) / RATE_HZ
    return (level * np.sin(2 * np.pi * 200 * times)).astype(np.int16)


def quiet(milliseconds: int) -> Pcm:
    return np.zeros(milliseconds * MS, np.int16)


@pytest.mark.parametrize(
    ("sound", "again_ms"),
    [
        ([voice(200), quiet(50), voice(120)], 140),
        ([quiet(40), voice(200), quiet(80), voice(60), quiet(30), voice(90)], 200),
        ([voice(200), quiet(50), voice(120), quiet(20)], 160),
        ([voice(200), quiet(50)], 0),
        ([voice(300), voice(30, 900), voice(150)], 200),
        ([voice(30)], 30),
        ([quiet(300)], 0),
        ([], 0),
    ],
)
def test_the_word_begins_after_the_longest_gap(sound: list[Pcm], again_ms: int) -> None:
    heard = np.concatenate([quiet(0), *sound])
    assert abs(broken_word_samples(heard, RATE_HZ) - again_ms * MS) <= 20 * MS


@given(st.lists(st.sampled_from([0, 9, -200]) | st.integers(-3000, 3000), max_size=3000))
def test_no_more_is_said_again_than_was_heard_and_no_sound_is_left_out(samples: list[int]) -> None:
    pcm = np.array(samples, np.int16)
    assert 0 <= broken_word_samples(pcm, RATE_HZ) <= len(pcm)
    left_out = quiet_samples(pcm, RATE_HZ)
    assert 0 <= left_out <= len(pcm)
    assert np.abs(pcm[:left_out]).max(initial=0) < QUIET_PEAK


def test_silence_before_a_word_is_left_out_but_for_its_beginning() -> None:
    assert abs(quiet_samples(np.concatenate([quiet(100), voice(50)]), RATE_HZ) - 80 * MS) <= 10 * MS
    assert quiet_samples(voice(50), RATE_HZ) == 0
    assert quiet_samples(quiet(50), RATE_HZ) == 50 * MS


async def broken(*sounds: Pcm, heard_ms: int, unsent_ms: int = 0) -> tuple[PacedOutbox, PacedLine]:
    """An answer of these sounds, of which so much was asked for when the caller made a sound."""
    outbox = PacedOutbox(line := PacedLine())
    for number, pcm in enumerate(sounds):
        await outbox.play(pcm, ITEM, None if number else lambda: None)
    asked(line, heard_ms // 20)
    line.unsent = unsent_ms * MS
    outbox.pause()
    return outbox, line


def rest(line: PacedLine) -> Pcm:
    return np.trim_zeros(asked(line, 1000), "b")


@pytest.mark.parametrize("unsent_ms", [0, 20, 40])
async def test_it_goes_on_with_the_broken_word(unsent_ms: int) -> None:
    sounds = [voice(1500), quiet(60), voice(200, 7000), voice(400, 6000)]
    outbox, line = await broken(*sounds, heard_ms=1700, unsent_ms=unsent_ms)
    outbox.mend()
    outbox.resume()
    again = rest(line)
    whole = np.trim_zeros(np.concatenate(sounds[2:]), "b")
    assert np.array_equal(again[len(again) - len(whole) :], whole)
    assert len(again) - len(whole) <= 20 * MS


async def test_it_does_not_go_on_with_silence_and_what_it_says_is_told() -> None:
    outbox, line = await broken(voice(1500), quiet(300), heard_ms=1560)
    words = AnswerText(Answer(AnswerOptions(), "audio", None, None), ITEM, "word")
    outbox.tell(words)
    await outbox.play(np.concatenate([quiet(100), voice(200)]), ITEM)
    outbox.mend()
    outbox.resume()
    assert 200 * MS <= len(rest(line)) + MS <= 222 * MS
    assert words in outbox._waiting


async def test_what_is_stopped_while_a_word_is_said_again_was_not_heard_after_it() -> None:
    sounds = [voice(1500), quiet(60), voice(600)]
    outbox, line = await broken(*sounds, heard_ms=1700)
    outbox.mend()
    waiting = outbox.drop_sound()
    assert abs(waiting - 600 * MS) <= 22 * MS
    assert not len(rest(line))


async def test_where_nothing_was_broken_nothing_is_said_again() -> None:
    outbox, line = await broken(voice(1500), heard_ms=600)
    outbox.resume()
    outbox.mend()  # nobody keeps it silent
    assert len(rest(line)) + MS >= 900 * MS >= len(rest(line))
    outbox.pause()
    outbox.mend()  # all of it was heard
    outbox.resume()
    assert not len(rest(line))
