"""`serve run` with one of our configs, as Ray users expect it to work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml

from cluster.flags import REQUIRED
from serve_app.processes import descendants
from serve_app.supervisor import free_ports
from tests.system import ROOT, START_S, STOP_S


@pytest.mark.timeout(400)
def test_a_config_of_ours_runs_without_antiphon_up(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    config["http_options"]["port"] = port = free_ports(1)[0]
    (tmp_path / "demo.yaml").write_text(yaml.safe_dump(config))
    environment = {**{name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}, **REQUIRED}
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).parent / "serve"), "run", str(tmp_path / "demo.yaml")],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert is_ready(f"http://127.0.0.1:{port}/ready"), (tmp_path / "output").read_text()
    finally:
        below = descendants(process.pid)
        process.send_signal(signal.SIGTERM)  # a background job may be deaf to SIGINT
        try:
            process.wait(STOP_S)
        finally:
            for pid in below:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)


def is_ready(url: str) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=5.0).status_code == 200:
                return True
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    return False
