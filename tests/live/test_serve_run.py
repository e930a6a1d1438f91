"""`serve run` with one of our configs, and `serve deploy` under a call, as Ray users expect them to work."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster.flags import REQUIRED
from deployments import tones
from loadtest.caller import RealtimeCaller
from loadtest.exchange import Answer
from loadtest.room_caller import RoomCaller
from loadtest.room_ticket import Keys, request_ticket
from serve_app.ports import free_port
from serve_app.processes import descendants
from tests.live.rooms_kit import PATIENCE_S, type_to, until
from tests.system import ROOT, START_S, STOP_S

KEY = "the key of the tests"
RATE_HZ = 24_000
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


OTHERS = {
    "asr": {"engine": "synthetic", "model": "keener"},
    "llm": {"engine": "synthetic", "model": "wiser"},
    "tts": {"engine": "synthetic", "model": "lark"},
}
"""The models that take over; Piper gives way to another engine."""
PIPER = "piper-joe"
VOICES = (None, None, PIPER)
"""Of three who call meanwhile: the last one chooses a voice, which then is gone."""


@pytest.fixture
def own_ray() -> Iterator[str]:
    """Where a Ray keeps what it has, and looks for one that runs already: no other's. Its sockets need a short path."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield folder


@contextmanager
def served(folder: Path, keys: Keys, own_ray: str) -> Iterator[Served]:
    values = yaml.safe_load((ROOT / "configs" / "demo.yaml").read_text())
    values["applications"][0]["args"]["tts"] = {"engine": "piper", "model": PIPER}
    values["http_options"]["port"] = port = free_port()
    (folder / "demo.yaml").write_text(yaml.safe_dump(values))
    access = {"LIVEKIT_URL": keys.url, "LIVEKIT_API_KEY": keys.api_key, "LIVEKIT_API_SECRET": keys.api_secret}
    inherited = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    ours = {
        "RAY_AUTH_MODE": "disabled",
        "ANTIPHON_ADMIN__API_KEY": KEY,
        "ANTIPHON_CALL__FILLER": "",
        "RAY_TMPDIR": own_ray,
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # so soon Serve stops listening on the old replica
    }
    environment = {**inherited, **REQUIRED, **access, **ours}
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
async def test_a_config_runs_without_antiphon_up_and_gets_other_models_under_calls(
    tmp_path: Path, livekit_keys: Keys, own_ray: str
) -> None:
    with served(tmp_path, livekit_keys, own_ray) as system:
        assert is_ready(f"{system.url}/ready"), system.output.read_text()
        async with RoomCaller(await request_ticket(system.url), agent_timeout_s=PATIENCE_S) as old:
            assert (await type_to(old, "before")).text == "You said: before."
            before = await calls(system)
            assert before == 1
            async with talking(system) as talks:
                await asyncio.to_thread(system.deploy, call={"instructions": "Be brief."}, **OTHERS)

                async def replaced() -> bool:
                    return await calls(system) == 0  # another process answers, which has no calls

                await until(replaced, "a new replica of the ingress", START_S)
                async with RoomCaller(await request_ticket(system.url), agent_timeout_s=PATIENCE_S) as new:
                    assert (await type_to(new, "new here")).text == "You said: new here."
                    assert await calls(system) == 1  # it is hosted by the new one, beside the old calls
                    assert await models(system) == {kind: [each["model"]] for kind, each in OTHERS.items()}
                    assert (await type_to(old, "still here")).text == "You said: still here."
            for turns in talks:
                assert len(turns) > 2
                assert {(turn.status, turn.text) for turn in turns} == {("completed", "You said: on and on.")}
                assert [spoken(turns[0]), spoken(turns[-1])] == ["", "yousaid:onandon."]  # only the new voice is tones
                assert all(len(turn.audio) > RATE_HZ / 2 for turn in turns)


@asynccontextmanager
async def talking(system: Served) -> AsyncIterator[list[list[Answer]]]:
    """Three who say one thing after another over sockets, and what each is answered: at last once more."""
    over = asyncio.Event()

    async def talk(voice: str | None, answers: list[Answer]) -> None:
        async with RealtimeCaller(system.url, voice=voice) as call:
            last = False
            while not last:
                last = over.is_set()
                await call.say(tones.encode("on and on", RATE_HZ))
                answers.append(await call.answer(PATIENCE_S))

    talks: list[list[Answer]] = [[] for _ in VOICES]
    async with asyncio.TaskGroup() as group:
        for voice, answers in zip(VOICES, talks, strict=True):
            group.create_task(talk(voice, answers))
        yield talks
        over.set()


def spoken(answer: Answer) -> str:
    """In tones, which are told from speech."""
    return tones.decode(answer.audio, RATE_HZ).replace(" ", "")


async def models(system: Served) -> dict[str, list[str]]:
    """In memory, by deployment; of turn detection there is the same as ever."""
    async with httpx.AsyncClient(trust_env=False, headers={"Authorization": f"Bearer {KEY}"}) as client:
        found = (await client.get(f"{system.url}/api/admin/models", timeout=30.0)).json()["deployments"]
    return {
        each["name"]: [model["id"] for replica in each["replicas"] for model in replica["models"]]
        for each in found
        if each["name"] in OTHERS
    }


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
