"""`antiphon up`: it starts, says so, answers, and leaves nothing behind, however it ends."""

import contextlib
import signal
import socket
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from serve_app.ports import free_port
from serve_app.processes import descendants
from tests.system import ROOMS_OFF, ROOT, STOP_S, System, launch, running

pytestmark = pytest.mark.timeout(400)


def test_it_says_where_and_answers(demo: System) -> None:
    assert f"ready: open {demo.url}/" in demo.said()
    assert f"{demo.url.replace('http', 'ws')}/v1/realtime" in demo.said()
    assert httpx.get(f"{demo.url}/ready").status_code == 200
    assert httpx.get(f"{demo.url}/health").status_code == 200


def test_it_says_where_settings_came_from(demo: System) -> None:
    assert "asr.engine = synthetic (configs/demo.yaml)" in demo.said()


@pytest.mark.parametrize("config", ["demo", "local"])
def test_haproxy_is_the_door_and_replicas_speak_grpc(config: str, request: pytest.FixtureRequest) -> None:
    """Without them streams of dead callers run on for ever, and sockets cost sixteen times as much."""
    system: System = request.getfixturevalue(config)
    port = int(system.url.rpartition(":")[2])
    below = [psutil.Process(pid) for pid in descendants(system.process.pid)]
    doors = [each for each in below if "haproxy" in each.name() and port in _listening(each)]
    assert doors, "the port does not belong to HAProxy"
    replicas = [each for each in below if each.cmdline() and "ServeReplica:antiphon" in each.cmdline()[0]]
    assert len(replicas) >= 5
    for replica in replicas:
        assert replica.environ()["RAY_SERVE_USE_GRPC_BY_DEFAULT"] == "1"
        # A replica's gRPC server listens besides the one that each of Ray's workers has.
        assert len(_listening(replica)) >= 2


def livekit_servers(below: list[int]) -> list[int]:
    """Those among these processes."""
    found = []
    for pid in below:
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [pid] if "livekit-server" in psutil.Process(pid).name() else []
    return found


def _listening(process: psutil.Process) -> set[int]:
    return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


def test_if_it_is_killed_its_children_end_by_themselves(tmp_path: Path) -> None:
    with running("configs/demo.yaml", tmp_path) as system:
        assert ROOMS_OFF or livekit_servers(descendants(system.process.pid))
        below = [psutil.Process(pid) for pid in descendants(system.process.pid)]
        system.process.kill()
        _, alive = psutil.wait_procs(below, timeout=STOP_S)
        assert [each for each in alive if each.status() != psutil.STATUS_ZOMBIE] == []


def test_two_side_by_side_one_of_them_without_rooms_and_ctrl_c_ends_it_alone(demo: System, tmp_path: Path) -> None:
    """After a Ctrl-C nothing is left: of those with a LiveKit server of their own `running` holds it, too. And SIGTERM:
    `test_up_rooms` ends a system with it."""
    with running("configs/demo.yaml", tmp_path, options=["--no-livekit"], LIVEKIT_URL="ws://192.0.2.1") as other:
        ready = httpx.get(f"{other.url}/ready")
        assert (ready.status_code, ready.json()["rooms"]["state"]) == (200, "off")
        refused = httpx.post(f"{other.url}/api/livekit/token", json={})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "no_livekit")
        assert "rooms" not in other.said().partition("ready: open")[2]
        below = descendants(other.process.pid)
        assert len(below) > 10
        assert livekit_servers(below) == []
        assert httpx.get(f"{demo.url}/ready").status_code == 200
        other.process.send_signal(signal.SIGINT)
        assert other.process.wait(STOP_S) == 0, other.said()
        assert [pid for pid in below if psutil.pid_exists(pid)] == []
        assert other.said().endswith("stopped\n")
    assert httpx.get(f"{demo.url}/ready").status_code == 200


def refused(tmp_path: Path, *words: str, **variables: str) -> str:
    """What a start that cannot be prints: it ends with 2."""
    process = launch("up", *words, "--log-file", str(tmp_path / "log"), output=tmp_path / "output", **variables)
    try:
        status = process.wait(120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    said = (tmp_path / "output").read_text()
    assert status == 2, said
    return said


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "configs/demo.yaml", "--port", str(port))
    assert said == f"antiphon: port {port} on 127.0.0.1 is in use: choose another one with --port\n"


def test_a_missing_config(tmp_path: Path) -> None:
    said = refused(tmp_path, "configs/lcal.yaml")
    assert len(said.splitlines()) == 1
    assert "configs/lcal.yaml: no such file; did you mean configs/local.yaml?" in said
    assert "configs/demo.yaml" in said


def test_a_wrong_config(tmp_path: Path) -> None:
    said = refused(tmp_path, "configs/demo.yaml", "--port", str(free_port()), ANTIPHON_ASR__ENGIN="x")
    assert said.startswith(
        "configs/demo.yaml: ANTIPHON_ASR__ENGIN: unknown setting; did you mean ANTIPHON_ASR__ENGINE?"
    )


def test_a_model_file_that_is_not_what_it_should_be(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"broken")
    config = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    args = config["applications"][0]["args"]
    file = {"source": f"file:{tmp_path}/model.gguf", "size_bytes": 6, "sha256": "0" * 64}
    args["models"] = {"mine": {"kind": "llm", "engine": "llama_cpp", "licence": "MIT", "files": {"model.gguf": file}}}
    args["llm"] = {"engine": "llama_cpp", "model": "mine"}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    said = refused(tmp_path, str(tmp_path / "x.yaml"), "--port", str(free_port()))
    errors = [line for line in said.splitlines() if line.startswith("antiphon: ")]
    assert len(errors) == 1, said
    assert "mine" in errors[0]
    assert "Traceback" not in said


def test_a_model_file_that_its_engine_cannot_read(tmp_path: Path) -> None:
    """The file is as the catalogue says, and yet no model: a replica finds out."""
    import hashlib

    content = b"GGUF? no."
    (tmp_path / "model.gguf").write_bytes(content)
    config = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    args = config["applications"][0]["args"]
    digest = hashlib.sha256(content).hexdigest()
    file = {"source": f"file:{tmp_path}/model.gguf", "size_bytes": len(content), "sha256": digest}
    args["models"] = {"mine": {"kind": "llm", "engine": "llama_cpp", "licence": "MIT", "files": {"model.gguf": file}}}
    args["llm"] = {"engine": "llama_cpp", "model": "mine"}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    said = refused(
        tmp_path, str(tmp_path / "x.yaml"), "--port", str(free_port()), XDG_CACHE_HOME=str(tmp_path / "cache")
    )
    errors = [line for line in said.splitlines() if line.startswith("antiphon: ")]
    assert len(errors) == 1, said
    assert "llm" in errors[0]
