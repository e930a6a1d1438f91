"""Looking into a running system, and managing its models, over HTTP and by the commands."""

import json
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from websockets.asyncio.client import connect

from serve_app.admin.client import key_file
from tests.live.test_door import realtime
from tests.system import ROOT
from tests.test_wire import check


def asked(demo_url: str, path: str, order: dict[str, Any] | None = None, key: str | None = None) -> httpx.Response:
    key = key or key_file(urlsplit(demo_url).port or 0).read_text()
    headers = {"Authorization": f"Bearer {key}"}
    if order is None:
        return httpx.get(f"{demo_url}{path}", headers=headers, timeout=30)
    return httpx.post(f"{demo_url}{path}", json=order, headers=headers, timeout=90)


def managed(demo_url: str, model: str, order: str, **body: Any) -> Any:
    answer = asked(demo_url, f"/api/admin/models/{model}/{order}", body)
    check(answer.json(), "http", "POST /api/admin/models/{model}/{order}", "answers", answer.status_code)
    return answer


def states(demo_url: str) -> dict[str, str]:
    """Of the voices' models."""
    answer = asked(demo_url, "/api/admin/models")
    check(answer.json(), "http", "GET /api/admin/models", "answers", 200)
    [tts] = [each for each in answer.json()["deployments"] if each["name"] == "tts"]
    [replica] = tts["replicas"]
    assert replica["known"] == ["synthetic", "another"]
    return {model["id"]: model["state"] + (" pinned" if model["pinned"] else "") for model in replica["models"]}


def test_the_whole_system_is_shown(demo_url: str) -> None:
    answer = asked(demo_url, "/api/admin/status")
    check(answer.json(), "http", "GET /api/admin/status", "answers", 200)
    found = answer.json()
    assert [(each["name"], each["problem"]) for each in found["deployments"]] == [
        (kind, None) for kind in ("asr", "llm", "tts", "turn")
    ]
    [ingress], [node] = found["ingress"], found["nodes"]
    assert ingress["max_calls"] == 64
    assert {replica["node"] for each in found["deployments"] for replica in each["replicas"]} == {node["id"]}


async def test_a_turn_has_asked_each_model_for_what_is_urgent_first(demo_url: str) -> None:
    """Over the handles, from a call to the queue in front of each model."""

    def started(name: str) -> dict[str, int]:
        found = asked(demo_url, "/api/admin/status").json()["deployments"]
        [queue] = [replica["queue"] for each in found if each["name"] == name for replica in each["replicas"]]
        return {priority: fates.get("started", 0) for priority, fates in queue["requests"].items()}

    before = {name: started(name).get("first_phrase", 0) for name in ("llm", "tts")}
    async with connect(realtime(demo_url)) as call:
        await call.send(json.dumps({"type": "response.create", "response": {"instructions": "Say 12 345 67"}}))
        while json.loads(await call.recv())["type"] != "response.done":
            pass
    assert started("tts")["housekeeping"] > 0
    for name in before:
        assert started(name)["first_phrase"] == before[name] + 1


@pytest.mark.parametrize(("path", "order"), [("status", None), ("models", None), ("models/another/load", {})], ids=str)
def test_without_its_key_nobody_may(demo_url: str, path: str, order: dict[str, Any] | None) -> None:
    answer = asked(demo_url, f"/api/admin/{path}", order, key="wrong")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"


async def test_models_come_and_go_as_they_are_told(demo_url: str) -> None:
    managed(demo_url, "another", "unpin")
    managed(demo_url, "another", "unload", wait_s=10)
    assert states(demo_url) == {"synthetic": "resident pinned"}
    assert managed(demo_url, "another", "load").status_code == 200
    assert states(demo_url) == {"synthetic": "resident pinned", "another": "resident"}
    managed(demo_url, "another", "pin")
    assert states(demo_url)["another"] == "resident pinned"
    assert managed(demo_url, "another", "unload").json()["error"]["message"] == "another is pinned: unpin it first"
    async with connect(f"{realtime(demo_url)}&voice=another") as call:
        assert managed(demo_url, "another", "replace").status_code == 200
        await call.send(json.dumps({"type": "response.create", "response": {"instructions": "Say 12 345 67"}}))
        while (event := json.loads(await call.recv()))["type"] != "response.done":
            assert event["type"] != "error"
        assert event["response"]["status"] == "completed"
    managed(demo_url, "another", "unpin")
    assert managed(demo_url, "another", "unload").json()["replicas"][0]["models"] == []
    assert states(demo_url) == {"synthetic": "resident pinned"}


@pytest.mark.parametrize(
    ("model", "order", "body", "field"),
    [
        ("nothing", "load", {}, "model"),
        ("another", "burn", {}, "order"),
        ("synthetic", "unload", {"deployment": "tts"}, "model"),
        ("synthetic", "unload", {"deployment": "llm"}, "model"),
        ("another", "load", {"deployment": "ears"}, "deployment"),
        ("another", "load", {"wait_s": -1}, "wait_s"),
        ("another", "load", {"wait_s": True}, "wait_s"),
        ("another", "load", {"now": True}, "now"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_by_name(
    demo_url: str, model: str, order: str, body: dict[str, Any], field: str
) -> None:
    answer = managed(demo_url, model, order, **body)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field


def test_the_commands_find_the_key_of_this_machine(demo_url: str) -> None:
    def said(*words: str) -> str:
        command = [sys.executable, "-m", "serve_app.cli", *words, "--url", demo_url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    shown = said("status")
    assert all(word in shown for word in ("ingress", "0 of 64", "asr", "llm", "tts", "turn"))
    assert "another" in said("models", "capabilities")
    assert "antiphon: synthetic is always in memory" in said("models", "unload", "synthetic", "--deployment", "tts")
    assert "wants its API key" in said("status", "--key", "wrong")
