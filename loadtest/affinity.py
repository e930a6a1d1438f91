"""How well requests find what they need, and what it costs to look for it.

python -m loadtest.affinity [--seconds 15] [--requests 1000] [--router cluster.router.AffinityRouter] [--out DIR]

Starts a Ray of its own, with replicas that only take time: 4 of them, which keep 3 of 12 voices each. One after the
other:

    zipf    40 callers ask for voices, the n-th of them 1/n times as often as the first; with the router, and with
            Serve's own `@serve.multiplexed`
    hot     all ask for one voice, without a pause
    talk    40 conversations at a time, each of which leaves its prompt where it was; with the router and with Serve's
    cost    requests one after the other, alternately by the router and by Serve's own

Prints a table, writes affinity.json and affinity.png, and says the same in one JSON line, last.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest.affinity_callers import (
    PAUSE_S,
    always,
    busiest_to_least,
    by_popularity,
    conversations,
    found_percent,
    talk,
)
from loadtest.arguments import positive
from loadtest.room_bench import Findings, write

REPLICAS = 4
SETTLED_S = 3.0
"""By then every voice has been loaded once, and a hot one everywhere."""
FLAGS = {"RAY_SERVE_USE_GRPC_BY_DEFAULT": "1", "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}


@contextmanager
def cluster() -> Iterator[None]:
    """Ray and Serve, without a door. What Serve reads from the environment counts when it is imported."""
    os.environ |= FLAGS
    import ray
    from ray import serve

    with tempfile.TemporaryDirectory(prefix="antiphon-") as folder:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "include_dashboard": False}
        ray.init(address="local", namespace="serve", num_cpus=16, _temp_dir=folder, **quiet)
        try:
            serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
            logging.getLogger("ray.serve").setLevel(logging.ERROR)
            yield
        finally:
            serve.shutdown()  # type: ignore[no-untyped-call]
            ray.shutdown()


@contextmanager
def deployed(name: str, which: str, router: str | None) -> Iterator[Any]:
    """A handle of `loadtest.affinity_replicas`' class, with a router by its import path, or with Serve's own."""
    from ray import serve
    from ray.serve.config import RequestRouterConfig

    from loadtest import affinity_replicas

    chosen: dict[str, Any] = {"request_router_class": router, "request_routing_stats_period_s": 0.5} if router else {}
    options: dict[str, Any] = {"graceful_shutdown_timeout_s": 0.1, "graceful_shutdown_wait_loop_s": 0.1}
    deployment = serve.deployment(
        name=name,
        num_replicas=REPLICAS,
        max_ongoing_requests=100,
        ray_actor_options={"num_cpus": 0.1},
        request_router_config=RequestRouterConfig(**chosen),
        logging_config={"log_level": "ERROR", "enable_access_log": False},
        **options,
    )(getattr(affinity_replicas, which))
    print(f"starting {REPLICAS} replicas: {name}", flush=True)
    yield serve.run(deployment.bind(), name=name, route_prefix=None)
    serve.delete(name)


async def voices(found: Findings, handle: Any, seconds: float, row: str) -> None:
    served = await talk(seconds, by_popularity(handle), PAUSE_S)
    found.add(f"{row}_ms", *(one.took_ms for one in served))
    found.facts[f"{row}_resident_percent"] = found_percent(one for one in served if one.at_s >= SETTLED_S)
    found.facts[f"{row}_resident_percent_from_the_start"] = found_percent(served)
    found.facts[f"{row}_busiest_to_least"] = busiest_to_least(served, REPLICAS)


async def hot_voice(found: Findings, handle: Any, seconds: float) -> None:
    served = await talk(seconds, always(handle, "hot"), 0.0)
    found.add("hot_ms", *(one.took_ms for one in served if one.at_s >= SETTLED_S))
    found.facts["hot_busiest_to_least"] = busiest_to_least(served, REPLICAS, SETTLED_S)
    found.facts["hot_busiest_to_least_from_the_start"] = busiest_to_least(served, REPLICAS)


async def talks(found: Findings, handle: Any, seconds: float, row: str) -> None:
    served = await talk(seconds, conversations(handle, row), PAUSE_S)
    found.add(f"{row}_ms", *(one.took_ms for one in served))
    found.facts[f"{row}_prefix_percent"] = found_percent(served)


async def cost(found: Findings, routed: Any, plain: Any, number: int) -> None:
    """In µs: the difference is smaller than what a tenth of a millisecond shows."""
    sides = (("routed_us", routed), ("plain_us", plain))
    for count in range(-50, number):
        for row, handle in sides if count % 2 else sides[::-1]:
            options = {"multiplexed_model_id": f"voice{count % 12}", "session_id": f"s{count % 40}"}
            began = time.perf_counter()
            await handle.options(method_name="echo", **(options if handle is routed else {})).remote("hello")
            if count >= 0:
                found.add(row, (time.perf_counter() - began) * 1e6)
    middle = found.summaries()
    found.facts["cost_p50_us"] = round((middle["routed_us"].p50 or 0) - (middle["plain_us"].p50 or 0), 1)


def measure(router: str, seconds: float, requests: int) -> Findings:
    found = Findings("affinity", "Requests that find what they need")
    with cluster():
        with deployed("routed", "Told", router) as routed:
            asyncio.run(voices(found, routed, seconds, "zipf"))
            with deployed("plain", "Told", None) as plain:
                asyncio.run(cost(found, routed, plain, requests))
                asyncio.run(talks(found, plain, seconds, "talk_plain"))
            asyncio.run(talks(found, routed, seconds, "talk"))
            asyncio.run(hot_voice(found, routed, seconds))
        with deployed("multiplexed", "Multiplexed", None) as multiplexed:
            asyncio.run(voices(found, multiplexed, seconds, "zipf_multiplexed"))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where nothing was measured; a figure never decides."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=positive, default=15, help="of each part")
    parser.add_argument("--requests", type=positive, default=1000, help="of each side of the cost")
    parser.add_argument("--router", default="cluster.router.AffinityRouter", metavar="MODULE.CLASS")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    args = parser.parse_args(argv)
    try:
        found = measure(args.router, args.seconds, args.requests)
    except KeyboardInterrupt:
        return 130
    print(json.dumps(write(args.out, found, prefix="")), flush=True)
    return 0 if any(found.values.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
