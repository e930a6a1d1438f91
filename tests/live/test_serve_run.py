"""`serve run` with one of our configs, and `serve deploy` under a call, as Ray users expect them to work."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.flags import REQUIRED
from loadtest.room_caller import RoomCaller
from loadtest.room_ticket import Keys, request_ticket
from serve_app.processes import descendants
from serve_app.supervisor import free_ports
from tests.live.rooms_kit import PATIENCE_S, type_to, until
from tests.system import ROOT, START_S, STOP_S

SERVE = str(Path(sys.executable).parent / "serve")


@dataclass(frozen=True, slots=True)
class Served:
    """What `serve run` runs."""

    url: str
    config: Path
    output: Path
    environment: Mapping[str, str]

    def deploy(self, **args: Any) -> None:
        """The same config with other settings, by `serve deploy`."""
        values = yaml.safe_load(self.config.read_text())
        values["applications"][0]["args"] |= args
        changed = self.config.with_name("changed.yaml")
        changed.write_text(yaml.safe_dump(values))
        found = re.search(r"dashboard at .*?(127\.0\.0\.1:\d+)", self.output.read_text())
        assert found is not None, self.output.read_text()
        command = [SERVE, "deploy", str(changed), "-a", f"http://{found.group(1)}"]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True, timeout=START_S)


@contextmanager
def served(folder: Path, keys: Keys) -> Iterator[Served]:
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    values["http_options"]["port"] = port = free_ports(1)[0]
    (folder / "demo.yaml").write_text(yaml.safe_dump(values))
    access = {"LIVEKIT_URL": keys.url, "LIVEKIT_API_KEY": keys.api_key, "LIVEKIT_API_SECRET": keys.api_secret}
    inherited = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    environment = {**inherited, **REQUIRED, **access, "RAY_AUTH_MODE": "disabled"}
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [SERVE, "run", str(folder / "demo.yaml")], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        yield Served(f"http://127.0.0.1:{port}", folder / "demo.yaml", output, environment)
    finally:
        below = descendants(process.pid)
        process.send_signal(signal.SIGTERM)  # a background job may be deaf to SIGINT
        try:
            process.wait(STOP_S)
        finally:
            for pid in below:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(400)
async def test_a_config_runs_without_antiphon_up_and_is_redeployed_under_a_call(
    tmp_path: Path, livekit_keys: Keys
) -> None:
    with served(tmp_path, livekit_keys) as system:
        assert is_ready(f"{system.url}/ready"), system.output.read_text()
        async with RoomCaller(await request_ticket(system.url), agent_timeout_s=PATIENCE_S) as old:
            assert (await type_to(old, "before")).text == "You said: before."
            before = await calls(system)
            assert before == 1
            await asyncio.to_thread(system.deploy, call={"instructions": "Be brief."})

            async def replaced() -> bool:
                return await calls(system) == 0  # another process answers, which has no calls

            await until(replaced, "a new replica of the ingress", START_S)
            async with RoomCaller(await request_ticket(system.url), agent_timeout_s=PATIENCE_S) as new:
                assert (await type_to(new, "new here")).text == "You said: new here."
                assert await calls(system) == 1  # it is hosted by the new one, beside the old call
                assert (await type_to(old, "still here")).text == "You said: still here."


async def calls(system: Served) -> int | None:
    """How many the replica that answers hosts; None while none answers."""
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            return int((await client.get(f"{system.url}/health", timeout=5.0)).json()["calls"])
    except (httpx.HTTPError, ValueError):
        return None


def is_ready(url: str) -> bool:
    """Every model can answer, and rooms can be joined."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(url, timeout=5.0)
            if answer.status_code == 200 and answer.json()["rooms"]["state"] == "connected":
                return True
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    return False
