"""Serve's own count of the requests that each deployment's replicas work on, read from inside the cluster.

`python -m tests.live.serve_counters GCS_ADDRESS` prints a JSON object for every line on standard input.
"""

import json
import logging
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from serve_app.processes import descendants
from tests.system import System

ANSWER_S = 60.0
"""The longest wait for an answer: the first one waits until the process has joined the cluster."""


class Counters:
    """Asks for the counts; each answer takes a few milliseconds, but the first."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def now(self) -> dict[str, int]:
        """Requests under way, by deployment: every open stream counts."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print("count", file=self._process.stdin, flush=True)
        # Every answer is one short line written at once: when something can be read, all of it can.
        if not select.select([self._process.stdout], [], [], ANSWER_S)[0]:
            raise TimeoutError(f"Serve's counters said nothing for {ANSWER_S:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("Serve's counters ended; the lines above say why")
        counts: dict[str, int] = json.loads(line)
        return counts


@contextmanager
def counting(system: System) -> Iterator[Counters]:
    """Counters of a running system."""
    below = [psutil.Process(pid) for pid in descendants(system.process.pid)]
    replica = next(each for each in below if "ServeReplica:antiphon" in " ".join(each.cmdline()))
    raylet = next(each for each in below if each.name() == "raylet")
    address = next(word.partition("=")[2] for word in raylet.cmdline() if word.startswith("--gcs-address="))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.live.serve_counters", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=replica.environ(),
        text=True,
    )
    try:
        yield Counters(process)
    finally:
        try:
            process.communicate(timeout=30)
        finally:
            process.kill()  # nothing, where it has ended


def main(address: str) -> None:
    import ray

    ray.init(address=address, namespace="serve", log_to_driver=False, logging_level=logging.ERROR)
    replicas = {
        name: ray.get_actor(name, namespace="serve")
        for name in ray.util.list_named_actors()
        if name.startswith("SERVE_REPLICA::antiphon#")
    }
    for _ in sys.stdin:
        counts: Counter[str] = Counter()
        for name, replica in replicas.items():
            counts[name.split("#")[1]] += _count(ray.get(replica.get_num_ongoing_requests.remote(), timeout=ANSWER_S))
        print(json.dumps(counts), flush=True)


def _count(answer: object) -> int:
    assert isinstance(answer, int)
    return answer


if __name__ == "__main__":
    main(sys.argv[1])
