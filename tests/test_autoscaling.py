from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.config import AutoscalingContext

from cluster import calls_seen
from cluster.autoscaling import BUSY_S, CALLS, ByCalls, ByForecast, Highest

DEPLOYMENT = DeploymentID("ingress", "test")


def context(
    reported: Mapping[str, Sequence[float]] | None, *, least: int = 1, most: int = 8, name: str = CALLS
) -> AutoscalingContext:
    """Of replicas that reported these numbers of calls, one after the other."""
    series = {
        ReplicaID(replica, DEPLOYMENT): [TimeStampedValue(float(at), value) for at, value in enumerate(values)]
        for replica, values in (reported or {}).items()
    }
    metrics: Any = None if reported is None else {name: series}
    return AutoscalingContext(
        deployment_id=DEPLOYMENT,
        deployment_name=DEPLOYMENT.name,
        app_name=DEPLOYMENT.app_name,
        current_num_replicas=len(series),
        target_num_replicas=len(series),
        running_replicas=list(series),
        total_num_requests=0.0,
        total_queued_requests=0.0,
        aggregated_metrics=None,
        raw_metrics=metrics,
        capacity_adjusted_min_replicas=least,
        capacity_adjusted_max_replicas=most,
        policy_state={},
        last_scale_up_time=None,
        last_scale_down_time=None,
        current_time=None,
        config=None,
    )


@pytest.mark.parametrize(
    ("reported", "wanted"),
    [
        (None, 1),
        ({}, 1),
        ({"a": []}, 1),
        ({"a": [0]}, 1),
        ({"a": [8]}, 1),
        ({"a": [9]}, 2),
        ({"a": [8], "b": [8]}, 2),
        ({"a": [8], "b": [9]}, 3),
        ({"a": [32, 0]}, 1),  # the latest counts, not a mean
        ({"a": [0, 32]}, 4),
        ({"a": [100]}, 8),
    ],
)
def test_as_many_replicas_as_the_calls_need(reported: Mapping[str, Sequence[float]] | None, wanted: int) -> None:
    assert ByCalls(8)(context(reported)) == (wanted, {})


def test_never_fewer_than_the_least() -> None:
    assert ByCalls(8)(context({"a": [0]}, least=3))[0] == 3


def test_nothing_else_that_is_reported_counts() -> None:
    assert ByCalls(8)(context({"a": [100]}, name="requests"))[0] == 1


# --- of models, by the calls that the ingress has


@pytest.fixture(autouse=True)
def nobody_counted() -> Iterator[None]:
    calls_seen._seen.clear()
    yield
    calls_seen._seen.clear()


def policy(**options: float) -> ByForecast:
    defaults = {"target_streams": 2.0, "load_s": 30.0, "headroom": 2.0, "downscale_delay_s": 60.0, "idle_s": 100.0}
    return ByForecast(**{**defaults, "presumed_duty": 0.25, **options})


class Model:
    """A deployment under a policy: what it is told second by second, and the replicas that it then has."""

    def __init__(self, of: ByForecast, *, least: int = 1, most: int = 50) -> None:
        self._policy = of
        self._least, self._most = least, most
        self.now_s = 1000.0
        self.replicas = least
        self._busy_s = 0.0

    def run(self, seconds: int, *, calls: float | None = None, streams: float = 0.0, busy: float = 0.0) -> int:
        """`busy` seconds of work are done in each second. Returns the number of replicas in the end."""
        for _ in range(seconds):
            self.now_s += 1
            self._busy_s += busy
            if calls is not None:
                calls_seen.tell("test", self.now_s, calls)
            there = context({"a": [self._busy_s]} if self.replicas else {}, name=BUSY_S, least=self._least)
            there.capacity_adjusted_max_replicas = self._most
            there.current_time, there.current_num_replicas = self.now_s, self.replicas
            there.target_num_replicas = self.replicas
            there._total_num_requests_value = streams
            self.replicas, _ = self._policy(there)
        return self.replicas


def test_more_calls_are_more_replicas_before_they_ask_for_anything() -> None:
    model = Model(policy())
    assert model.run(10, calls=0) == 1
    assert model.run(1, calls=40) >= 5  # a quarter of them speaks at once, and a replica serves two


def test_calls_that_are_lighter_than_presumed_need_fewer_replicas() -> None:
    heavy, light = Model(policy()), Model(policy())
    assert heavy.run(1200, calls=40, busy=10) > light.run(1200, calls=40, busy=2) > 1


def test_headroom_and_a_long_load_need_more_replicas() -> None:
    def after_a_rise(**options: float) -> int:
        model = Model(policy(**options))
        for calls in range(60):
            model.run(1, calls=calls, busy=calls / 4)
        return model.replicas

    usual = after_a_rise()
    assert after_a_rise(headroom=0) < usual < after_a_rise(headroom=4)
    assert after_a_rise(load_s=1) < usual < after_a_rise(load_s=120)


def test_what_is_asked_now_is_served_whatever_was_foretold() -> None:
    assert Model(policy()).run(60, calls=1, streams=30) == 15
    assert Model(policy()).run(1, calls=1, streams=30) == 1  # a chance crowd is gone before a replica has loaded


def test_without_a_count_of_calls_requests_are_all_there_is() -> None:
    assert Model(policy(headroom=0)).run(1000, streams=6) == 3
    assert Model(policy(headroom=3)).run(1000, streams=6) > 3


def test_it_goes_down_late_and_to_what_was_wanted_meanwhile() -> None:
    model = Model(policy(headroom=0, presumed_duty=1.0))
    assert model.run(400, calls=20, busy=20, streams=20) == (high := model.replicas) >= 10
    assert model.run(55, calls=10, busy=10, streams=10) == high
    assert 5 <= model.run(20, calls=4, busy=4, streams=4) < high  # ten calls were there within the last minute
    assert model.run(1500, calls=0) == 1


def test_never_more_than_the_most_nor_fewer_than_the_least() -> None:
    model = Model(policy(), least=2, most=3)
    assert model.run(1, calls=1000) == 3
    assert model.run(2000, calls=0) == 2


def test_to_zero_only_when_idle_and_calls_alone_wake_nothing() -> None:
    model = Model(policy(idle_s=100), least=0)
    assert model.run(50, calls=30) == 0
    assert model.run(1, calls=30, streams=1) == 1
    assert model.run(50, calls=30, busy=0.01) == 1
    assert model.run(98, calls=30) >= 1
    assert model.run(3, calls=30) == 0


def test_a_replica_that_is_loading_is_in_use() -> None:
    asked = context({}, least=0)
    asked.current_time, asked.current_num_replicas, asked.target_num_replicas = 1000.0, 0, 1
    assert policy()(asked)[0] == 1


def test_what_has_waited_for_the_first_replica_asks_for_no_second() -> None:
    """Serve asks nobody while a request waits and no replica is there."""
    model = Model(policy(), least=0)
    model.run(10)
    model.now_s += 30
    assert model.run(3, streams=5) == 1


def test_calls_counted_long_ago_are_no_count() -> None:
    calls_seen.tell("test", 1000.0, 9)
    assert calls_seen.calls_of("test", 1005.0) == 9
    assert calls_seen.calls_of("test", 1011.0) is None
    assert calls_seen.calls_of("another", 1000.0) is None


def test_the_ingress_policy_tells_the_calls() -> None:
    there = context({"a": [3], "b": [4]})
    there.current_time = 1000.0
    ByCalls(8)(there)
    assert calls_seen.calls_of("test", 1000.0) == 7


def test_the_highest_of_a_window() -> None:
    highest = Highest(10)
    values = [(0, 1), (1, 5), (2, 3), (11, 2), (12, 2), (13, 1), (22, 1), (23, 1), (24, 4)]
    assert [highest.of(at, value) for at, value in values] == [1, 5, 5, 5, 3, 2, 2, 1, 4]
