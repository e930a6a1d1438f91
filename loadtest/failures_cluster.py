"""A program: a config on a cluster of several nodes, all on this machine, that replaces whatever of Ray dies.

    python -m loadtest.failures_cluster CONFIG PORT

A head has the calls, the door, Serve's controller and the GCS, which keeps its tables on disk. Each of `WORKERS` other
nodes has one replica of each model; where such a node dies another one joins, and a GCS that dies is started again. A
process of its own, because what Ray and Serve read from the environment counts for a whole process. It ends with
Ctrl-C, and with whoever started it.
"""

import os
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from loadtest.failures_kinds import MODELS
from loadtest.server import free_port

WORKERS = 2
PLACE = {"host": "models"}
"""The label of the nodes that models may be on: the head, which no strike hits, has none."""
WORKER_CORES, HEAD_CORES = 2, 8
INGRESS_CORES = WORKER_CORES + 1
"""More than a worker has, so that calls are on the head. Cores are bookkeeping."""
MODEL_CORES = WORKER_CORES / 8
STORE_BYTES = 80 * 2**20
POLL_S = 0.2
GCS_DOWN_S = 5.0
"""About what it takes whoever looks after a head to start it again."""

SERVE = {  # as every server of calls is to be run; the other variables are for what would clash on one machine
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "3600",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "OMP_NUM_THREADS": "1",
}
PORTS = ("HAPROXY_METRICS_PORT", "HAPROXY_STATS_PORT", "FALLBACK_PROXY_HTTP_PORT", "FALLBACK_PROXY_GRPC_PORT")
FILES = {
    "CONFIG_FILE_LOC": "haproxy.cfg",
    "SOCKET_PATH": "admin.sock",
    "METRICS_SOCKET_PATH": "metrics.sock",
    "SERVER_STATE_BASE": "",
    "SERVER_STATE_FILE": "server-state",
}


def environment(folder: Path) -> dict[str, str]:
    """What Ray and Serve are started with: nothing that another Ray on this machine has, and the GCS on disk."""
    return {
        **SERVE,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_TMPDIR": str(folder),
        "RAY_gcs_storage": "rocksdb",
        "RAY_gcs_storage_path": str(folder / "gcs"),
        **{f"RAY_SERVE_{name}": str(free_port()) for name in PORTS},
        **{f"RAY_SERVE_HAPROXY_{name}": str(folder / "h" / file) for name, file in FILES.items()},
    }


def config_for(config: Mapping[str, Any], port: int) -> dict[str, Any]:
    """A Serve config of ours, with its calls on the head and one replica of each model on each other node."""
    [application] = config["applications"]
    args = dict(application["args"])
    for model in MODELS:
        args[model] = {**args[model], "replicas": WORKERS, "cpus": MODEL_CORES, "node_labels": PLACE}
    args["ingress"] = {**args.get("ingress", {}), "cpus": INGRESS_CORES}
    spread = [{"name": model, "max_replicas_per_node": 1} for model in MODELS]
    return {
        **config,
        "proxy_location": "HeadOnly",  # the nodes share their ports: they are one machine
        "http_options": {**config.get("http_options", {}), "host": "127.0.0.1", "port": port},
        "applications": [{**application, "args": args, "deployments": spread}],
    }


class Nodes:
    """A head and `WORKERS` others; `mend` replaces what has died. Ray lets only the main thread do either."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": HEAD_CORES, "include_dashboard": False, "temp_dir": f"{folder}/ray"}
        self.cluster = Cluster(initialize_head=True, head_node_args={**head, "object_store_memory": STORE_BYTES})
        for _ in range(WORKERS):
            self._join()

    def mend(self) -> None:
        head: Any = self.cluster.head_node
        if died(head, "gcs_server"):
            head.kill_gcs_server(check_alive=False)  # so that it is forgotten
            time.sleep(GCS_DOWN_S)
            head.start_gcs_server()
        for node in [each for each in self.cluster.worker_nodes if died(each, "raylet")]:
            self.cluster.worker_nodes.discard(node)
            node.kill_all_processes(check_alive=False)
            self._join()

    def _join(self) -> None:
        self.cluster.add_node(num_cpus=WORKER_CORES, labels=PLACE, object_store_memory=STORE_BYTES)


def died(node: Any, process: str) -> bool:
    """`node`: of Ray's own kind."""
    return any(each.process.poll() is not None for each in node.all_processes.get(process, []))


def run(config: Mapping[str, Any], port: int, folder: Path) -> None:
    """Until Ctrl-C, or until whoever started this is gone."""
    import ray
    from ray.serve._private import api
    from ray.serve.schema import ServeDeploySchema

    starter = os.getppid()
    nodes = Nodes(folder)
    try:
        ray.init(nodes.cluster.address, namespace="serve", log_to_driver=False)
        schema = ServeDeploySchema.model_validate(config_for(config, port))
        # As `serve run` does it: Serve's public `start` takes no proxy options of a config file.
        client = api.serve_start(
            http_options=schema.http_options.model_dump(),
            proxy_location=schema.proxy_location,
            global_logging_config=None,
        )
        client.deploy_apps(schema, _blocking=False)
        while os.getppid() == starter:
            time.sleep(POLL_S)
            nodes.mend()
    finally:
        end_all_below()


def end_all_below() -> None:
    """Whatever this process has started. What it kept is in a folder that goes with it."""
    below = psutil.Process().children(recursive=True)
    for process in below:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(below, timeout=10)


def main() -> int:
    config = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # A short name, not below $TMPDIR, which may be long: the paths of Ray's sockets may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="antiphon-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "h").mkdir()
        os.environ |= environment(folder)
        try:
            run(config, int(sys.argv[2]), folder)
        except KeyboardInterrupt:
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
