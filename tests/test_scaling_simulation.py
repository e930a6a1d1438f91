"""The simulation's parts, on days short enough to be worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from loadtest.scaling_day import DAY_S, SHORTEST_S, Day, make_day
from loadtest.scaling_fleet import Fleet
from loadtest.scaling_policies import DEFAULT, Controller, Policy, clock_of
from loadtest.scaling_report import Report, table, write
from loadtest.scaling_runs import Course
from loadtest.scaling_simulation import INGRESS, OURS, SERVE_OURS, _parser, fleet_for, main, policy_options
from loadtest.statistics import summarise

pytestmark = pytest.mark.filterwarnings("ignore:The `metrics_interval_s` field:DeprecationWarning")


def day_of(*requests: tuple[float, float], call_s: float = 1000.0) -> Day:
    """Each request (when, how long it takes) is of a call of its own, which begins with it."""
    asked, work = (np.array(column, dtype=np.float64) for column in zip(*requests, strict=True))
    return Day(asked, asked + call_s, asked, work, np.arange(len(asked)))


def fleet(day: Day, *, replicas: int = 1, places: int = 1, load_s: float = 30.0, patience_s: float = 60.0) -> Fleet:
    return Fleet(day, places=places, load_s=load_s, patience_s=patience_s, replicas=replicas)


def advance(there: Fleet, seconds: int) -> None:
    for second in range(int(there.now_s) + 1, int(there.now_s) + 1 + seconds):
        there.advance(second)


def test_a_day_is_its_seeds() -> None:
    first, again, other = (make_day(20, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.asked_s, again.asked_s)
    assert len(first.asked_s) != len(other.asked_s)


def test_a_day_is_as_busy_as_it_says() -> None:
    day = make_day(60, np.random.default_rng(3))
    calls = day.calls_at()
    assert len(calls) == DAY_S + 1
    assert 50 < calls[11 * 3600 : 12 * 3600].mean() < 75
    assert calls[13 * 3600] < 0.85 * calls[11 * 3600 : 12 * 3600].mean()  # lunch
    assert calls[5 * 3600 : 6 * 3600].mean() < 10
    assert np.all(np.diff(day.asked_s) >= 0)
    assert np.all(day.asked_s >= day.begins_s[day.call])
    assert np.all(day.asked_s <= day.ends_s[day.call])
    assert (day.ends_s - day.begins_s).min() >= SHORTEST_S - 1e-6


def test_a_rare_voice_has_the_calls_of_the_day_and_few_requests() -> None:
    day = make_day(20, np.random.default_rng(1))
    rare = day.only(5, np.random.default_rng(1))
    assert len(rare.begins_s) == len(day.begins_s)
    assert len(set(rare.call.tolist())) == 5


def test_who_finds_no_place_waits_for_the_first_that_is_free() -> None:
    there = fleet(day_of((1.0, 4.0), (2.0, 1.0), (3.0, 1.0)), places=1)
    advance(there, 20)
    assert there.waits_s == [0.0, 3.0, 3.0]
    assert there.busy_s == pytest.approx(6.0)
    assert there.presence_s == pytest.approx(4 + 4 + 4)


def test_work_under_way_counts_up_to_now() -> None:
    there = fleet(day_of((1.0, 100.0), (1.0, 100.0)), places=2)
    advance(there, 11)
    assert there.busy_s == pytest.approx(20)


def test_a_replica_that_was_asked_for_helps_once_it_has_loaded() -> None:
    there = fleet(day_of((1.0, 50.0), (2.0, 1.0)), load_s=10.0)
    advance(there, 5)
    there.scale(2)
    assert (there.ready, there.target, there.starts) == (1, 2, 1)
    advance(there, 15)
    assert there.waits_s == [0.0, 13.0]  # until second 15
    assert there.gpu_s == 5 + 2 * 15


def test_a_replica_that_goes_ends_what_it_has() -> None:
    there = fleet(day_of((1.0, 9.0), (1.0, 9.0), (6.0, 1.0)), replicas=2)
    advance(there, 5)
    there.scale(1)
    advance(there, 15)
    assert there.waits_s == [0.0, 0.0, 4.0]  # no new work before one place of the remaining replica is free
    assert there.gpu_s == pytest.approx(2 * 5 + 15 + 5)  # until its request ended


def test_who_waits_too_long_hangs_up() -> None:
    day = Day(
        np.array([0.0, 1.0]),
        np.array([500.0, 500.0]),
        *(np.array(each) for each in ([1.0, 2.0, 50.0, 60.0], [40.0, 1.0, 1.0, 1.0], [0, 1, 0, 1])),
    )
    there = fleet(day, patience_s=4.0)
    advance(there, 5)
    assert there.calls == 2
    advance(there, 95)
    assert (there.refused, there.cut, there.calls) == (1, 0, 1)
    assert there.waits_s == [0.0, 4.0, 0.0]  # and asks no more
    advance(there, 450)
    assert there.calls == 0


def test_serves_own_policy_waits_for_its_delay_by_the_clock_of_the_day() -> None:
    there = fleet(day_of(*[(1.0, 500.0)] * 8), places=2)
    policy = Policy(DEFAULT, {}, {"target_ongoing_requests": 2.0, "upscale_delay_s": 20.0, "metrics_interval_s": 5.0})
    controller = Controller(policy, INGRESS, least=1, most=3)
    wanted = []
    with clock_of(there):
        for second in range(1, 60):
            there.advance(second)
            there.scale(controller.wanted(there))
            wanted.append(there.target)
    rise = wanted.index(3)
    assert wanted == [1] * rise + [3] * (59 - rise)  # never beyond the most
    assert 20 <= rise <= 32


def test_the_policy_by_calls_asks_before_there_is_any_work() -> None:
    day = make_day(60, np.random.default_rng(1))
    silent = Day(day.begins_s, day.ends_s, day.asked_s[:0], day.work_s[:0], day.call[:0])
    there = fleet(silent, places=2)
    options = policy_options_of("--load-s", "30")
    controller = Controller(Policy(OURS, options, SERVE_OURS), INGRESS, least=1, most=64)
    there.now_s = 11.0 * 3600
    with clock_of(there):
        assert controller.wanted(there) > 8


def policy_options_of(*words: str) -> dict[str, float]:
    return policy_options(_parser().parse_args(words))


def test_the_fixed_fleet_is_for_the_busiest_moment() -> None:
    day = make_day(60, np.random.default_rng(1))
    most = day.calls_at().max() / 4 / 2
    assert most < fleet_for(day, 2) < 2 * most


def test_a_policy_that_cannot_be_had_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--policy", "cluster.autoscaling:ByMagic", "--peak-calls", "1"]) == 2
    assert "ByMagic" in capsys.readouterr().err.splitlines()[-1]


def test_the_report_is_a_table_json_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    courses = {
        name: Course(refused, 0, summarise([0.0, 100.0 * refused]), refused / 100, hours, 7, (1, 2, 3) * 480)
        for name, refused, hours in [
            *[("headroom 2", 0, 5.5), ("headroom 1", 1, 5.0), ("Serve as it comes", 9, 4.0)],
            *[("Serve quick, 60 %", 2, 7.0), ("fixed", 0, 24.0)],
        ]
    }
    day = make_day(5, np.random.default_rng(1))
    result = write(tmp_path, Report(day, 2, "headroom 2", courses), {"seed": 1})
    assert result["courses"]["Serve as it comes"]["refused"] == 9
    assert table(courses) in capsys.readouterr().out
    assert (tmp_path / "scaling_simulation.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "scaling_simulation.json").exists()
