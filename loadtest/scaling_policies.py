"""Serve's controller in small: policies asked as it asks them, with what it would tell them, at a time of our own.

A policy is named by its import path, as in a Serve config: the load tests know nothing of the server's code, and any
policy can be tried. Delays, factors and bounds are Serve's own functions.
"""

import importlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.serve._private.common import DeploymentID, ReplicaID, TimeStampedValue
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from loadtest.scaling_fleet import Fleet

serves: Any = importlib.import_module("ray.serve.autoscaling_policy")

DEFAULT = "ray.serve.autoscaling_policy:replica_queue_length_autoscaling_policy"
"""Serve's own: by the requests under way and waiting."""

START_S = 1_000_000.0
"""What the clock shows when the day begins: not 0, which would be `never` to somebody."""

BUSY, CALLS = "busy_s", "calls"
"""What replicas report, the model's and the ingress's."""


@dataclass(frozen=True, slots=True)
class Policy:
    """`options`: of a policy that is a class. `serve`: fields of Serve's `AutoscalingConfig`."""

    path: str
    options: Mapping[str, float] = field(default_factory=dict)
    serve: Mapping[str, float] = field(default_factory=dict)


class Controller:
    """Decides once a second how many replicas there are to be."""

    def __init__(self, policy: Policy, ingress: str, *, least: int, most: int) -> None:
        self._config = AutoscalingConfig(min_replicas=least, max_replicas=most, **policy.serve)
        self._decide = serves._apply_autoscaling_config(loaded(policy.path, policy.options))
        self._count_calls = loaded(ingress, {"target_calls": 32})
        self._seen: deque[tuple[float, float]] = deque()  # (time, presence) of each second
        self._told = 0.0
        self._told_s = float("-inf")
        self._state: dict[str, Any] = {}

    def wanted(self, fleet: Fleet) -> int:
        self._look(fleet)
        self._count_calls(self._context("ingress", fleet, {CALLS: float(fleet.calls)}, 1, 1, {}))
        told = {BUSY: fleet.busy_s} if fleet.ready else {}
        bounds = self._config.min_replicas, self._config.max_replicas
        number, self._state = self._decide(self._context("model", fleet, told, *bounds, self._state))
        return max(bounds[0], min(bounds[1], int(-(-number // 1))))

    def _look(self, fleet: Fleet) -> None:
        """Requests are told every `metrics_interval_s`, as their mean over the last `look_back_period_s`."""
        self._seen.append((fleet.now_s, fleet.presence_s))
        while len(self._seen) > 2 and self._seen[1][0] <= fleet.now_s - self._config.look_back_period_s:
            self._seen.popleft()
        if fleet.now_s - self._told_s >= self._config.metrics_interval_s:
            (since_s, before), (until_s, after) = self._seen[0], self._seen[-1]
            self._told = (after - before) / (until_s - since_s) if until_s > since_s else 0.0
            self._told_s = fleet.now_s

    def _context(
        self, name: str, fleet: Fleet, told: Mapping[str, float], least: int, most: int, state: dict[str, Any]
    ) -> AutoscalingContext:
        deployment = DeploymentID(name, "simulation")
        replica = ReplicaID("all", deployment)
        now_s = START_S + fleet.now_s
        return AutoscalingContext(
            deployment_id=deployment,
            deployment_name=name,
            app_name=deployment.app_name,
            current_num_replicas=fleet.ready,
            target_num_replicas=fleet.target,
            running_replicas=[replica] * fleet.ready,
            total_num_requests=self._told,
            total_queued_requests=0.0,
            aggregated_metrics=None,
            raw_metrics={key: {replica: [TimeStampedValue(now_s, value)]} for key, value in told.items()},
            capacity_adjusted_min_replicas=least,
            capacity_adjusted_max_replicas=most,
            policy_state=state,
            last_scale_up_time=None,
            last_scale_down_time=None,
            current_time=now_s,
            config=self._config,
        )


def loaded(path: str, options: Mapping[str, float]) -> Callable[[AutoscalingContext], tuple[Any, dict[str, Any]]]:
    """As Serve does it: a class is made with its options, a function has none."""
    module, _, name = path.partition(":")
    found: Any = getattr(importlib.import_module(module), name)
    made: Callable[[AutoscalingContext], tuple[Any, dict[str, Any]]] = (
        found(**options) if isinstance(found, type) else found
    )
    return made


@contextmanager
def clock_of(fleet: Fleet) -> Iterator[None]:
    """Serve's delays look at the clock on the wall; meanwhile it shows the fleet's time."""
    kept = serves.time
    serves.time = SimpleNamespace(time=lambda: START_S + fleet.now_s, monotonic=time.monotonic)
    try:
        yield
    finally:
        serves.time = kept
