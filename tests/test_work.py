import asyncio
from contextlib import suppress

import numpy as np

from cluster.autoscaling import BUSY_S
from deployments.options import Timing
from deployments.store import StoreOptions
from deployments.turn.deployment import TurnDeployment
from deployments.turn.options import TurnOptions
from deployments.work import WorkMeter


class Clock:
    s = 100.0

    def __call__(self) -> float:
        return self.s


def test_two_at_once_count_twice_and_idle_time_does_not() -> None:
    clock = Clock()
    meter = WorkMeter(clock)
    clock.s += 50
    first, second = meter.request(), meter.request()
    with first:
        clock.s += 1
        with second:
            clock.s += 2
            assert meter.busy_s() == 5  # those under way are counted
        clock.s += 4
    clock.s += 50
    assert meter.busy_s() == 9


def test_a_request_that_fails_is_over() -> None:
    clock = Clock()
    meter = WorkMeter(clock)
    broken = meter.request()
    with suppress(ValueError), broken:
        clock.s += 1
        raise ValueError
    clock.s += 10
    assert meter.busy_s() == 1


async def test_what_waits_in_a_replica_is_no_work() -> None:
    timing = Timing(first_item_ms=20, concurrency=1)
    options = TurnOptions(model="synthetic", engine="synthetic", timing=timing)
    deployment, clock = TurnDeployment(options, None, StoreOptions()), Clock()
    deployment.work = WorkMeter(clock)
    asking = [asyncio.create_task(deployment.end_of_turn(np.zeros(160, np.int16))) for _ in range(2)]
    await asyncio.sleep(0.001)
    assert (deployment.queue.running, deployment.queue.waiting) == (1, 1)
    clock.s += 1
    await asyncio.gather(*asking)
    assert await deployment.record_autoscaling_stats() == {BUSY_S: 1}
