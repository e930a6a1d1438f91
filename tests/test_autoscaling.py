from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.config import AutoscalingContext

from cluster.autoscaling import CALLS, ByCalls

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
