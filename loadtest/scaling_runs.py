"""One day under one policy, and many of them beside each other."""

import multiprocessing
import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from loadtest.scaling_day import DAY_S, Day
from loadtest.scaling_fleet import Fleet
from loadtest.scaling_policies import Controller, Policy, clock_of
from loadtest.statistics import Summary, summarise

EVERY_S = 60
"""So often a number of replicas is kept for the picture."""

LATE_S = 0.2
"""A wait that a caller notices."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a policy has to deal with. `places`: requests at once that a replica serves; `fixed`: so many replicas, and
    nobody is asked; `ingress`: the import path of the policy that counts calls."""

    places: int
    load_s: float
    patience_s: float
    least: int
    most: int
    ingress: str
    policy: Policy | None = None
    fixed: int = 0


@dataclass(frozen=True, slots=True)
class Course:
    """What came of it. `refused`: calls without any answer; `cut`: calls that were given up later. `late`: part of the
    requests that waited for more than `LATE_S`. `starts`: replicas that were loaded; `replicas`: at each minute."""

    refused: int
    cut: int
    wait_ms: Summary
    late: float
    gpu_hours: float
    starts: int
    replicas: tuple[int, ...]


def run(day: Day, given: Given) -> Course:
    """The whole day, second by second."""
    first = given.fixed or given.least
    fleet = Fleet(day, places=given.places, load_s=given.load_s, patience_s=given.patience_s, replicas=first)
    replicas = []
    with clock_of(fleet):
        policy = given.policy
        controller = Controller(policy, given.ingress, least=given.least, most=given.most) if policy else None
        for second in range(1, DAY_S + 1):
            fleet.advance(second)
            if controller:
                fleet.scale(controller.wanted(fleet))
            if second % EVERY_S == 0:
                replicas.append(fleet.target)
    return _course(fleet, replicas)


def _course(fleet: Fleet, replicas: list[int]) -> Course:
    waits = fleet.waits_s
    return Course(
        refused=fleet.refused,
        cut=fleet.cut,
        wait_ms=summarise(1000 * wait for wait in waits),
        late=sum(wait > LATE_S for wait in waits) / max(1, len(waits)),
        gpu_hours=round(fleet.gpu_s / 3600, 1),
        starts=fleet.starts,
        replicas=tuple(replicas),
    )


def run_all(cases: Mapping[str, tuple[Day, Given]]) -> dict[str, Course]:
    """Each on a core of its own, as far as there are cores."""
    with ProcessPoolExecutor(min(len(cases), os.cpu_count() or 1), multiprocessing.get_context("spawn")) as pool:
        courses = pool.map(run, *zip(*cases.values(), strict=True))
        return dict(zip(cases, courses, strict=True))
