"""A program: two nodes with two fake GPUs each, of two kinds, in two zones; prints where Serve put the replicas, and
serves calls until its input ends.

    python -m tests.cluster.placed PORT

A process of its own, because what Serve reads from the environment counts for a whole process.
"""

import json
import os
import sys
from typing import Any

from cluster.flags import REQUIRED

ZONES = {"H200": "a", "L4": "b"}
"""The zone of the node with GPUs of this kind."""
CORES = 8


def settings() -> dict[str, Any]:
    """ASR, LLM, turn detection and four TTS deployments, which share four GPUs."""
    weightless = {"engine": "synthetic", "cpus": 0.1}
    return {
        "asr": {**weightless, "gpus": 0.2, "replicas": 2},
        "llm": {**weightless, "gpus": 0.45, "accelerator_type": "H200"},
        "turn": {**weightless, "gpus": 0.05},
        "tts": {**weightless, "gpus": 0.3},
        "vad": {"engine": "energy"},
        "more_deployments": [
            {**weightless, "kind": "tts", "name": "tts-alone", "model": "alone", "gpus": 0.6},
            {
                **weightless,
                "kind": "tts",
                "name": "tts-zone-b",
                "model": "b",
                "gpus": 0.3,
                "node_labels": {"zone": "b"},
            },
            {**weightless, "kind": "tts", "name": "tts-h200", "model": "c", "gpus": 0.1, "accelerator_type": "H200"},
        ],
        "ingress": {"cpus": 0.1},
    }


def main() -> None:
    os.environ |= REQUIRED
    os.environ["RAY_AUTH_MODE"] = "disabled"
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    from serve_app.app import build
    from serve_app.settings import Settings, deployments_of

    cluster = Cluster()
    for kind, zone in ZONES.items():
        cluster.add_node(
            num_cpus=CORES,
            num_gpus=2,
            labels={"zone": zone},
            resources={f"accelerator_type:{kind}": 1},
            include_dashboard=False,  # nobody looks, and its port may be another cluster's
        )
    ray.init(cluster.address, log_to_driver=False)
    try:
        chosen = Settings.model_validate(settings())
        at = {"host": "127.0.0.1", "port": int(sys.argv[1])}
        serve.start(proxy_location="HeadOnly", http_options=at)  # the nodes share their ports: they are one machine
        serve.run(build(chosen), name="antiphon")
        zones = {node["NodeID"]: node["Labels"].get("zone") for node in ray.nodes()}  # type: ignore[no-untyped-call]
        for each in deployments_of(chosen):
            handle = serve.get_deployment_handle(each.name, "antiphon")
            for status in handle.broadcast("status").results():
                place = status.place
                told = [each.name, zones[place.node_id], list(place.gpus), place.visible_devices]
                print(json.dumps(told), flush=True)
        print("all", flush=True)
        sys.stdin.read()
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
