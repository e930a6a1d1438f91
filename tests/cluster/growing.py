"""A cluster that grows and shrinks under calls: `python -m tests.cluster.growing FOLDER` prints what happened, as JSON.

A head with two GPUs that are only numbers, and a second node that joins later with two more and is drained at last, as
before its machine is taken away. The voice model is
synthetic and wants a whole GPU. What stands for the ingress only counts calls.
"""

import asyncio
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2
from ray.serve._private.common import ReplicaState
from ray.serve.handle import DeploymentHandle

from cluster.autoscaling import CALLS
from cluster.telemetry import Measure
from deployments.options import ScalingOptions, Timing
from deployments.store import StoreOptions
from deployments.tts.deployment import TtsDeployment
from deployments.tts.options import TtsOptions
from serve_app.options import IngressOptions
from serve_app.remotes import RemoteTts
from serve_app.scaling import replicas_of_ingress, replicas_of_model

SOON_S = 40.0
CALLERS = 6
PHRASE = "so it goes."
LONG = " ".join(["and so on"] * 14) + "."
DRAIN_S = 60
"""From the order to drain a node to its end; a replica there may take so long for what it has begun."""
NODE: dict[str, Any] = {"object_store_memory": 80 * 2**20, "num_cpus": 8, "num_gpus": 2}

OPTIONS = TtsOptions(
    model="synthetic",
    engine="synthetic",
    gpus=1.0,
    replicas=1,
    max_replicas=4,
    max_streams=8,
    deadline_s=30.0,
    timing=Timing(items_per_s=1.0),  # as fast as it sounds
    scaling=ScalingOptions(target_streams=4, load_s=3.0, headroom=1.0, downscale_delay_s=1.0),
)


class Voice(TtsDeployment):
    async def where(self) -> tuple[str, float]:
        """The node of this replica, and how long it has worked."""
        return ray.get_runtime_context().get_node_id(), self.work.busy_s()


class Counter:
    """As many calls as it was told."""

    def __init__(self, voice: DeploymentHandle[Any]) -> None:
        self._calls = 0

    def record_autoscaling_stats(self) -> dict[str, float]:
        return {CALLS: self._calls}

    async def tell(self, calls: int) -> None:
        self._calls = calls


def start(folder: str) -> Cluster:
    head = {**NODE, "include_dashboard": False, "temp_dir": f"{folder}/ray"}
    there = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=there.address, namespace="serve", log_to_driver=False)
    serve.start(proxy_location="Disabled")
    voice = serve.deployment(
        name="tts",
        **replicas_of_model(OPTIONS),
        max_ongoing_requests=OPTIONS.max_streams,
        ray_actor_options={"num_cpus": 0.1, "num_gpus": OPTIONS.gpus},
    )(Voice).bind(OPTIONS, None, StoreOptions())
    counter = serve.deployment(
        name="ingress",
        **replicas_of_ingress(IngressOptions(), counts_calls=True),
        ray_actor_options={"num_cpus": 0.1},
    )(Counter).bind(voice)
    serve.run(counter, name="growing", route_prefix=None)
    return there


def replicas(state: str) -> int:
    counts = serve.status().applications["growing"].deployments["tts"].replica_states
    return int(counts.get(ReplicaState(state), 0))


async def until(reached: Callable[[], bool], what: str) -> float:
    """Seconds until then."""
    started = time.monotonic()
    while not await asyncio.to_thread(reached):
        if time.monotonic() - started > SOON_S:
            raise TimeoutError(f"not in {SOON_S:g} s: {what}; tts: {serve.status()}")
        await asyncio.sleep(0.1)
    return round(time.monotonic() - started, 1)


class Callers:
    """They ask for one phrase after the other, and note how many samples came. What breaks ends all."""

    def __init__(self, tts: RemoteTts) -> None:
        self._tts = tts
        self._over = False
        self.phrases: list[int] = []

    async def speak(self, text: str) -> int:
        """How many samples came."""
        return sum([len(chunk.pcm) async for chunk in self._tts.speak(text)])

    async def talk(self) -> None:
        while not self._over:
            self.phrases.append(await self.speak(PHRASE))

    def hang_up(self) -> None:
        self._over = True


async def happen(there: Cluster) -> dict[str, Any]:
    """The whole story, in facts."""
    voice = serve.get_deployment_handle("tts", "growing")
    counter = serve.get_deployment_handle("ingress", "growing")
    repeated: list[Measure] = []
    callers = Callers(RemoteTts(voice, report=repeated.append))
    facts: dict[str, Any] = {"at_first": replicas("RUNNING")}
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(callers.talk())
        await counter.tell.remote(64)
        facts["up_s"] = await until(lambda: replicas("RUNNING") == 2, "the GPUs of the head are all in use")
        facts["before_it_joined"], before = replicas("RUNNING"), len(callers.phrases)
        joined = there.add_node(**NODE)  # which only the main thread may do: callers listen again when it is up
        await counter.tell.remote(1024)  # while it came nobody spoke, of which it would follow that calls need little
        facts["join_s"] = await until(lambda: replicas("RUNNING") == 4, "those of the new node, too")
        facts["most"] = replicas("RUNNING")
        await until(lambda: worked(voice, joined.node_id) > 0, "the new node's replicas work")
        facts["worked_there_s"] = await asyncio.to_thread(worked, voice, joined.node_id)
        facts["phrases_meanwhile"] = len(callers.phrases) - before
        # Eight at once: every replica has some, for it takes the one with the fewest of two.
        long = [tasks.create_task(callers.speak(LONG)) for _ in range(2 * 4)]
        callers.hang_up()
        await until(lambda: working(voice) == 4, "every replica speaks")
        drain(there, joined.node_id)
        facts["drain_s"] = await until(lambda: replicas("STOPPING") == 2, "those of the drained node go")
        facts["asked_then"] = [(await voice.where.remote())[0] == joined.node_id for _ in range(20)]
        facts["drained_while_open"] = sum(not stream.done() for stream in long)
        await counter.tell.remote(0)
        facts["down_s"] = await until(lambda: replicas("RUNNING") < 2, "calls are over")
        facts["went_while_open"] = sum(not stream.done() for stream in long)
        facts["draining"] = replicas("STOPPING")
        facts["long_samples"] = [await stream for stream in long]
    facts["all_gone_s"] = await until(lambda: replicas("RUNNING") == 1 and not replicas("STOPPING"), "the rest")
    facts["cut"] = sum(measure.tags["why"] == "failed" for measure in repeated)
    return {**facts, "at_last": replicas("RUNNING"), "phrase_samples": sorted(set(callers.phrases))}


def drain(there: Cluster, node: str) -> None:
    """What an autoscaler says before it takes a machine away. Raises where Ray refuses."""
    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")  # type: ignore[attr-defined]
    deadline_ms = int((time.time() + DRAIN_S) * 1000)
    accepted, why = GcsClient(address=there.address).drain_node(node, reason, "its machine goes", deadline_ms)
    if not accepted:
        raise RuntimeError(why)


def told(voice: DeploymentHandle[Any]) -> list[tuple[str, float]]:
    return [each for each in voice.broadcast("where").results(timeout_s=10) if not isinstance(each, Exception)]


def worked(voice: DeploymentHandle[Any], node: str) -> float:
    """The least that a replica of that node has worked."""
    return min((busy_s for there, busy_s in told(voice) if there == node), default=0.0)


def working(voice: DeploymentHandle[Any]) -> int:
    """How many replicas work just now."""
    before = told(voice)
    time.sleep(0.1)
    return sum(busy_s > earlier for (_, busy_s), (_, earlier) in zip(told(voice), before, strict=True))


def main(folder: str) -> None:
    # Ray writes there which cluster was started last, and other programs on this machine would take it for theirs.
    os.environ["RAY_TMPDIR"] = folder
    Path(folder, "ray").mkdir(parents=True)
    there = start(folder)
    try:
        facts = asyncio.run(happen(there))
    except Exception:
        traceback.print_exc()  # before anything else may end this process
        raise
    finally:
        ray.shutdown()
        there.shutdown()  # type: ignore[no-untyped-call]
    print(json.dumps(facts))


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
