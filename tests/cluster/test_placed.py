"""Several models of a kind on a cluster of two nodes with two fake GPUs each, of two kinds."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from cluster.machines import read_hosts
from cluster.placement import plan
from serve_app.needs import needs_of
from serve_app.ports import free_port
from serve_app.settings import Settings, deployments_of
from tests.cluster.placed import CORES, ZONES, settings
from tests.system import ROOT

Placed = list[tuple[str, str, tuple[str, ...]]]
"""Deployment, zone, GPUs of each replica."""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def placed(port: int) -> Iterator[Placed]:
    program = [sys.executable, "-m", "tests.cluster.placed", str(port)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, cwd=ROOT, **pipes) as process:  # type: ignore[call-overload]
        try:
            found: Placed = []
            for line in process.stdout:
                if line.strip() == "all":
                    break
                if line.startswith("["):
                    name, zone, gpus, visible = json.loads(line)
                    assert visible == ",".join(gpus), "the driver shows a replica the GPUs that Ray gave it"
                    found.append((name, zone, tuple(gpus)))
            yield found
        finally:
            process.stdin.close()
            process.wait(60)


@pytest.mark.timeout(300)
def test_replicas_are_where_the_plan_has_them(placed: Placed) -> None:
    chosen = Settings.model_validate(settings())
    hosts = ",".join(f"{zone}:2x{kind}+{CORES}c" for kind, zone in ZONES.items())
    made = plan(needs_of(chosen), read_hosts(hosts))
    assert not made.refusals
    shares: dict[tuple[str, str], float] = defaultdict(float)
    for each in deployments_of(chosen):
        replicas = [(zone, gpus) for name, zone, gpus in placed if name == each.name]
        assert len(replicas) == each.options.replicas == len(made.of(each.name))
        assert all(len(gpus) == 1 for _, gpus in replicas)
        planned = sorted(made.hosts[seat.host].name for seat in made.of(each.name))
        if each.options.accelerator_type or each.options.node_labels or each.options.replicas == len(made.hosts):
            assert sorted(zone for zone, _ in replicas) == planned, each.name
        for zone, (gpu,) in replicas:
            shares[zone, gpu] += each.options.gpus
    assert max(shares.values()) <= 1


def created(port: int, query: str) -> dict[str, object]:
    """The session that a call begins with. Raises ConnectionClosed where the call is refused."""
    with connect(f"ws://127.0.0.1:{port}/v1/realtime?{query}", open_timeout=20) as socket:
        event = json.loads(socket.recv(timeout=20))
        if event["type"] == "error":
            assert event["error"]["type"] == "invalid_request_error"
            socket.recv(timeout=20)
        session: dict[str, object] = event["session"]
        return session


@pytest.mark.usefixtures("placed")
@pytest.mark.timeout(120)
def test_a_call_gets_the_voice_of_the_model_that_it_names(port: int) -> None:
    voices = [created(port, query)["audio"]["output"]["voice"] for query in ("", "models=tts-h200", "voice=b")]  # type: ignore[index]
    assert voices == ["synthetic", "c", "b"]


@pytest.mark.usefixtures("placed")
@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("needs=tts.cloning", "No tts model here has 'tts.cloning'"),
        ("models=tts-h200,tts-alone", "'tts-h200' and 'tts-alone' are both tts models"),
        ("voice=nobody", "Unknown voice 'nobody'; known are synthetic, alone, b, c"),
    ],
)
def test_what_cannot_be_had_is_refused_with_what_is_missing(port: int, query: str, reason: str) -> None:
    with pytest.raises(ConnectionClosed) as closed:
        created(port, query)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008
    assert closed.value.rcvd.reason.startswith(reason)
