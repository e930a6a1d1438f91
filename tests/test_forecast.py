import math

import numpy as np
import pytest

from cluster.forecast import Duty, Expected, Forecast, Level, streams_wanted


def watched(counts: list[float], *, window_s: float = 120.0) -> Forecast:
    """One that saw these numbers, one a second."""
    forecast = Forecast(window_s)
    for second, count in enumerate(counts):
        forecast.observe(float(second), count)
    return forecast


def test_what_never_changes_stays() -> None:
    assert watched([5.0] * 100).ahead(1000) == Expected(5, 0)


def test_nothing_seen_is_nothing_expected() -> None:
    assert Forecast(60).ahead(30) == Expected(0, 0)


def test_a_steady_rise_goes_on() -> None:
    rising = watched([second / 10 for second in range(600)]).ahead(30)
    assert rising.mean == pytest.approx(59.9 + 3, rel=0.02)


def test_there_are_never_fewer_than_now() -> None:
    assert watched([float(count) for count in range(100, 0, -1)]).ahead(60).mean == 1


def test_the_farther_the_less_certain() -> None:
    forecast = watched([10.0, 11.0, 10.0, 12.0, 11.0] * 40)
    variances = [forecast.ahead(horizon).variance for horizon in (0, 10, 60, 600)]
    assert variances[0] == 0
    assert variances == sorted(set(variances))


def test_what_was_long_ago_counts_no_more() -> None:
    forecast = watched([0.0] * 10 + [50.0] * 2000)
    assert forecast.ahead(30).mean == pytest.approx(50, abs=0.01)


def test_as_many_as_it_says_come_by_chance() -> None:
    """Calls of 180 s that begin by chance, 20 at once. What it says of the number 40 s later is neither too narrow nor
    too wide: about one in six of them is more than a standard deviation above the mean."""
    chance = np.random.default_rng(7)
    begins = np.sort(chance.uniform(0, 40_000, 40_000 * 20 // 180))
    ends = begins + chance.exponential(180.0, len(begins))
    seconds = np.arange(40_000.0)
    counts = np.searchsorted(begins, seconds, "right") - np.searchsorted(np.sort(ends), seconds, "right")
    forecast, above = Forecast(120.0), []
    for second in range(39_900):
        forecast.observe(float(second), float(counts[second]))
        if second > 2000 and second % 50 == 0:
            expected = forecast.ahead(40.0)
            above.append(counts[second + 40] > expected.mean + math.sqrt(expected.variance))
    assert 0.05 < np.mean(above) < 0.25


def test_a_level_is_the_mean_of_its_window() -> None:
    level = Level(10.0)
    assert level.of(0.0, 5.0) == 0
    for second in range(1, 100):
        reached = level.of(float(second), 5.0)
        if second == 10:
            assert reached == pytest.approx(5 * (1 - math.exp(-1)))
    assert reached == pytest.approx(5, abs=0.01)
    assert level.of(1000.0, 0.0) > 4  # nobody knows what was in between


def test_the_duty_is_presumed_until_it_is_measured() -> None:
    duty = Duty(0.25, 100.0, window_s=600.0)
    assert duty.value == 0.25
    for second in range(600):
        duty.observe(float(second), 50, {"a": second * 5.0, "b": 7.0})
    assert duty.value == pytest.approx(0.1, rel=0.05)


def test_what_a_replica_did_before_the_first_look_does_not_count() -> None:
    duty = Duty(0.25, 100.0, window_s=600.0)
    duty.observe(1000.0, 50, {"a": 1e6})
    assert duty.value == 0.25


def test_a_new_replica_counts_from_its_start_and_a_lost_one_takes_nothing_away() -> None:
    duty = Duty(0.0, 1e-9, window_s=1e9)
    duty.observe(0.0, 1, {"a": 10.0})
    duty.observe(10.0, 1, {"a": 12.0, "b": 3.0})
    assert duty.value == pytest.approx(0.5)
    duty.observe(20.0, 1, {"b": 3.0})
    assert duty.value == pytest.approx(0.25)


def test_headroom_is_for_chance() -> None:
    assert streams_wanted(Expected(40, 0), 0.25, 0) == 10
    assert streams_wanted(Expected(40, 0), 0.25, 2) == pytest.approx(10 + 2 * math.sqrt(10))
    assert streams_wanted(Expected(40, 96), 0.25, 2) == pytest.approx(10 + 2 * math.sqrt(16))
