"""When the voice of an answer will fall silent, by a clock that the test turns."""

from math import inf

import pytest

from serve_app.supply import Supply


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_nothing_runs_out_before_it_is_heard() -> None:
    clock = Clock()
    supply = Supply(clock)
    supply.add(0.5)
    clock.now_s += 10
    assert supply.left_s == inf
    supply.want()
    assert supply.left_s == 0.5
    clock.now_s += 0.2
    assert supply.left_s == pytest.approx(0.3)
    assert not supply.runs_out
    clock.now_s += 0.2
    assert supply.runs_out


def test_what_is_wanted_before_it_is_made_is_heard_from_its_first_sound_on() -> None:
    clock = Clock()
    supply = Supply(clock)
    supply.want()
    clock.now_s += 10
    assert supply.left_s == inf
    supply.add(0.5)
    assert supply.left_s == 0.5


def test_a_silence_is_not_made_up_for() -> None:
    clock = Clock()
    supply = Supply(clock)
    supply.want()
    supply.add(0.5)
    clock.now_s += 2
    assert supply.left_s == 0
    supply.add(0.4)
    assert supply.left_s == pytest.approx(0.4)


def test_a_slow_tts_is_asked_earlier() -> None:
    clock = Clock()
    supply = Supply(clock)
    supply.want()
    supply.add(0.5)
    supply.took(0.1)
    assert not supply.runs_out
    supply.took(0.3)
    assert supply.runs_out
