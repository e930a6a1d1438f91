"""Nodes and the GCS as victims: which processes they are, and what happens to them. In place of Ray's there are
programs with their names."""

import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from loadtest.failures_calls import Trial
from loadtest.failures_cluster import INGRESS_CORES, MODEL_CORES, WORKER_CORES, config_for
from loadtest.failures_kinds import KINDS, MODELS, Kind, chosen
from loadtest.failures_servers import grouped
from loadtest.processes import cluster_processes
from tests.scripted_server import ScriptedServer, tone
from tests.system import ROOT

LISTEN = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"


def replicas(*models: str) -> str:
    """For a shell: processes with the titles of such replicas."""
    return "; ".join(f"(exec -a ray::ServeReplica:antiphon:{model} sleep 600) &" for model in models).replace("&;", "&")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a head with the door, a whole node, one that lacks models, and a GCS."""
    bash, sleep = shutil.which("bash"), shutil.which("sleep")
    assert bash is not None
    assert sleep is not None
    folder = tmp_path_factory.mktemp("ray")
    raylet, gcs = folder / "raylet", folder / "gcs_server"
    raylet.symlink_to(bash)
    gcs.symlink_to(sleep)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    head = f'{raylet} -c "{sys.executable} -c \\"{LISTEN}\\" {port}; true"'
    nodes = [f"{raylet} -c '{replicas(*models)} wait'" for models in (MODELS, MODELS[:2])]
    with started(bash, "-c", " & ".join([head, *nodes, f"{gcs} 600", "wait"])):
        address = f"http://127.0.0.1:{port}"
        until(lambda: len(cluster_processes(address)) == 1 + 1 + 5 + 3 + 1)
        yield address


@contextmanager
def started(*command: str) -> Iterator[psutil.Process]:
    with subprocess.Popen(command) as process:
        tree = psutil.Process(process.pid)
        try:
            yield tree
        finally:
            for each in [*tree.children(recursive=True), tree]:
                with suppress(psutil.NoSuchProcess):
                    each.kill()


def until(true: Callable[[], bool], patience_s: float = 20.0) -> None:
    deadline_s = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline_s, "it was never so"
        time.sleep(0.02)


def test_a_gcs_is_found_beside_the_door(url: str) -> None:
    assert [each.name() for each in KINDS["gcs killed"].processes(url)] == ["gcs_server"]


def test_a_node_is_struck_whole_and_only_one_that_has_every_model(url: str) -> None:
    [node] = KINDS["node killed"].processes(url)
    below = node.children(recursive=True)
    assert len(below) == len(MODELS)
    assert KINDS["node frozen"].strike(node)
    until(lambda: all(each.status() == psutil.STATUS_STOPPED for each in [node, *below]))
    KINDS["node frozen"].let_go_on(node)
    until(lambda: all(each.status() == psutil.STATUS_SLEEPING for each in [node, *below]))
    assert KINDS["node killed"].strike(node)
    _, alive = psutil.wait_procs([node, *below], timeout=10)
    assert all(each.status() == psutil.STATUS_ZOMBIE for each in alive)
    assert KINDS["node killed"].processes(url) == []


@dataclass(frozen=True)
class Respawned(Kind):
    """Of one process. Another one comes when it has been missing for a while."""

    there: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    looks: list[bool] = field(default_factory=list)

    def processes(self, url: str) -> list[psutil.Process]:
        alive = [each for each in self.there if each.poll() is None]
        self.looks.append(bool(alive))
        if not alive and self.looks[-2:] in ([False], [False, False]):
            alive = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])]
            self.there.extend(alive)
        return [psutil.Process(each.pid) for each in alive]


@pytest.mark.parametrize("lasts", [True, False])
async def test_turns_are_disturbed_until_another_node_is_there(*, lasts: bool) -> None:
    kind = Respawned("respawned", "", lasts=lasts)
    try:
        async with ScriptedServer(answer_s=0.3).run() as server:
            trial = Trial(server.url, kind, tone(0.2), random.Random(1), between_s=(0.1, 0.2))
            strike = (await trial.run(1, 1)).strikes[0]
    finally:
        for each in kind.there:
            each.kill()
            each.wait()
    assert (strike.ended_s > strike.began_s) is lasts


def test_a_server_is_started_once_for_all_kinds_that_need_it() -> None:
    names = [[kind.name for kind in group] for group in grouped(chosen("node,gcs,turn"))]
    assert names == [["turn killed", "turn frozen"], ["node killed", "node frozen", "gcs killed"]]


def test_models_are_on_every_other_node_and_calls_are_on_the_head() -> None:
    config = config_for(yaml.safe_load((ROOT / Path("configs/demo.yaml")).read_text()), 1234)
    [application] = config["applications"]
    args = application["args"]
    assert config["http_options"]["port"] == 1234
    assert args["ingress"]["cpus"] == INGRESS_CORES > WORKER_CORES > len(MODELS) * MODEL_CORES
    assert all(args[model]["node_labels"] and args[model]["replicas"] == 2 for model in MODELS)
    assert application["deployments"] == [{"name": model, "max_replicas_per_node": 1} for model in MODELS]
