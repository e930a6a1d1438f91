"""How many calls hold with so many replicas, and what calls cost, beside a bare server."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from loadtest.processes import NOTHING, Usage, by_id, replica_processes, server_processes, usage
from loadtest.scale_out_bare import bare_server
from loadtest.scale_out_callers import Crowd, Talk, converse, stream, told
from loadtest.scale_out_steps import Level, Step, Used, climb
from loadtest.wire import CallFailed

IDLE_S = 3.0
BARE_S = 6.0


@dataclass(frozen=True, slots=True)
class Plan:
    """`files`: what callers say, and `session` what they ask for. A step's turns last `talk_s`; it holds where p95 of
    what callers wait is at most `within_ms` more than p50 of one call alone. At most `tries` steps, and `most` calls.
    """

    files: Sequence[Path]
    talk_s: float
    within_ms: float
    tries: int
    most: int
    session: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """Of each of so many calls, in the processes that host them."""

    calls: int
    core_percent: float
    mb: float

    @property
    def calls_a_core(self) -> float | None:
        return round(100 / self.core_percent, 1) if self.core_percent > 0 else None


class Watch:
    """What the machine and some of its processes use, from one `begin` to its `end`."""

    def __init__(self, groups: Mapping[str, Sequence[psutil.Process]]) -> None:
        self._groups = groups

    def begin(self) -> None:
        self._began_s, self._times, self._used = time.monotonic(), _times(), self._read()

    def end(self) -> Used:
        wall_s, (busy_s, all_s), used = time.monotonic() - self._began_s, _times(), self._read()
        cores = {name: (used[name].cpu_s - self._used[name].cpu_s) / wall_s for name in used}
        machine = (busy_s - self._times[0]) / max(1e-9, all_s - self._times[1])
        return Used(machine, cores, used.get("ingress", NOTHING).rss_mb)

    def _read(self) -> dict[str, Usage]:
        return {name: usage(group) for name, group in self._groups.items()}


def _times() -> tuple[float, float]:
    """Seconds that the cores of this machine were busy, and all."""
    times = psutil.cpu_times()
    # what a guest uses stands in `user` once more
    whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return whole - times.idle - getattr(times, "iowait", 0.0), whole


def watch(url: str) -> Watch:
    """Of the server at this address. Raises CallFailed where it is not on this machine."""
    replicas = replica_processes(url)
    ingress = {name for name in replicas if name.lower().endswith(":ingress")}
    if not ingress:
        raise CallFailed("the server's processes cannot be seen")
    models = [each for name, group in replicas.items() if name not in ingress for each in group]
    hosts = [each for name in ingress for each in replicas[name]]
    return Watch({"ingress": hosts, "door": server_processes(url), "models": models})


def measure(url: str, crowd: Crowd, plan: Plan, replicas: int, ingress: int, guess: int) -> Level:
    """Steps from `guess` calls on. Raises CallFailed where not even one call is answered."""
    seen = watch(url)
    seen.begin()
    time.sleep(IDLE_S)
    idle = seen.end()
    alone = _step(url, crowd, plan, seen, 1)
    middle_ms = alone.wait_ms.p50
    if alone.failed or middle_ms is None:
        raise CallFailed(f"one call alone is not answered: {'; '.join(sorted({*alone.failed})) or 'no turn was over'}")
    level = Level(replicas, ingress, middle_ms + plan.within_ms, idle, alone, ())
    print(f"replicas {replicas}: one call alone {middle_ms:.0f} ms", flush=True)
    steps: list[Step] = []

    def holds(calls: int) -> bool:
        step = _step(url, crowd, plan, seen, calls)
        steps.append(step)
        verdict = "holds" if step.holds(level.limit_ms) else "too many"
        print(
            f"replicas {replicas}: {calls} calls, p95 {step.wait_ms.p95} ms of {len(step.turns)} turns, "
            f"{len(step.failed)} failed, cores {100 * step.used.machine:.0f} % busy: {verdict}",
            flush=True,
        )
        return step.holds(level.limit_ms)

    climb(holds, guess, plan.tries, plan.most)
    return replace(level, steps=steps)


def _step(url: str, crowd: Crowd, plan: Plan, seen: Watch, calls: int) -> Step:
    dialled_s, talks = crowd.call(partial(converse, session=plan.session), url, plan.files, calls, plan.talk_s)
    used, talk = _seen(seen, dialled_s, plan.talk_s, talks)
    return Step(calls, talk.turns, talk.failed, replace(used, cores={**used.cores, "callers": talk.cores}))


def _seen(seen: Watch, from_s: float, talk_s: float, talks: Sequence[Future[Talk]]) -> tuple[Used, Talk]:
    time.sleep(max(0.0, from_s - time.time()))
    seen.begin()
    time.sleep(talk_s)
    return seen.end(), told(talks, talk_s)


def cost(level: Level) -> Cost | None:
    """Cores from the best step, less those without a call. Memory from the largest, against one call: what the first
    one loads stays, and what was once needed is kept."""
    if (best := level.best) is None or (most := max(step.calls for step in level.steps)) < 2:
        return None
    largest = max(level.steps, key=lambda step: step.calls)
    percent = 100 * (best.used.cores["ingress"] - level.idle.cores["ingress"]) / best.calls
    mb = (largest.used.ingress_mb - level.alone.used.ingress_mb) / (most - 1)
    return Cost(best.calls, round(percent, 3), round(mb, 3))


def bare(crowd: Crowd, calls: int) -> Cost:
    """The same number of messages, there and back, in a server of its own. Raises CallFailed."""
    with bare_server() as (url, pid):
        told(crowd.call(stream, url, (), 1, 0.5)[1], 0.5)
        seen = Watch({"ingress": by_id([pid])})
        seen.begin()
        before = seen.end()
        dialled_s, talks = crowd.call(stream, url, (), calls, BARE_S)
        used, talk = _seen(seen, dialled_s, BARE_S, talks)
    if talk.failed:
        raise CallFailed(f"the bare server: {talk.failed[0]}")
    mb = (used.ingress_mb - before.ingress_mb) / calls
    return Cost(calls, round(100 * used.cores["ingress"] / calls, 3), round(mb, 3))
