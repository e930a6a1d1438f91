"""About how many calls a plan serves, and what limits them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.placement import Plan

STAFFING = 0.73
"""How much room a host must have beyond the work that calls make on average, in square roots of that work: people speak
when they like, and want an answer at once. The rule is that of square-root staffing (Halfin and Whitt, 1981); the
figure was measured on two cores by `python -m loadtest.capacity`: with 60 % of them busy, the slowest answer in twenty
is half a second late."""


@dataclass(frozen=True, slots=True)
class Calls:
    """`limit` says what more calls would wait for. An estimate: it assumes that replicas share calls evenly."""

    number: int
    limit: str


def expected_calls(plan: Plan) -> Calls:
    """Zero where something has no place, for every call needs every deployment."""
    if plan.refusals:
        return Calls(0, f"{plan.refusals[0].need.deployment}, which has no place")
    number, limit = min(_limits(plan), key=lambda each: each[0], default=(0.0, "nothing that hosts calls"))
    return Calls(int(number + 1e-9), limit)


def _limits(plan: Plan) -> Iterator[tuple[float, str]]:
    for need in plan.needs:
        if need.most_calls is not None:
            yield (
                need.replicas * need.most_calls,
                f"what {need.deployment} takes, {need.replicas} x {need.most_calls:g}",
            )
        if need.most_cores is not None and need.core_s_per_call_s > 0:
            most = need.replicas * need.most_cores / need.core_s_per_call_s
            yield most, f"the cores that {need.deployment} can use, {need.replicas} x {need.most_cores:g}"
    for index, host in enumerate(plan.hosts):
        if (busy := cores_per_call(plan, index)) > 0:
            yield usable(host.cores) / busy, f"the {host.cores:g} cores of {host.name}"


def usable(cores: float) -> float:
    """Of so many cores, how many may be busy on average: what is left makes up for chance. Solves
    busy + STAFFING * sqrt(busy) = cores."""
    root = (math.sqrt(STAFFING**2 + 4 * cores) - STAFFING) / 2
    return root**2


def cores_per_call(plan: Plan, host: int) -> float:
    """Of this host, for each call that goes on anywhere."""
    needs = {need.deployment: need for need in plan.needs}
    here = (needs[seat.deployment] for seat in plan.on_host(host))
    return sum(need.core_s_per_call_s / need.replicas for need in here)
