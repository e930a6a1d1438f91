"""`antiphon up` and rooms: with a LiveKit server of its own, with somebody's, and where there is none."""

import os
import secrets
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path

import httpx
import psutil
import pytest

from deployments import tones
from loadtest.caller import RealtimeCaller
from loadtest.room_caller import RoomCaller
from loadtest.room_ticket import Keys, request_ticket
from loadtest.wav import write_wav
from loadtest.wire import Busy, CallFailed, NobodyThere
from serve_app.ports import free_port
from serve_app.processes import descendants
from tests.live.rooms_kit import PATIENCE_S, said, type_to, until, with_ticket
from tests.live.test_call_command import call, letters, lines_of, sides
from tests.live.test_up import livekit_servers
from tests.system import ROOMS_OFF, STOP_S, System, running

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(ROOMS_OFF, reason="ROOMS ARE NOT TESTED: WITHOUT_ROOMS=1 says so"),
]

ROOMS = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")
LONG = " ".join(["twenty"] * 10)
"""An answer that repeats this takes some seconds."""


@pytest.fixture(autouse=True)
def no_rooms_of_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ROOMS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def own() -> Iterator[System]:
    """With a LiveKit server of its own, with keys and a port that the tests know. The last test ends it."""
    port = free_port()
    keys = Keys(f"ws://127.0.0.1:{port}", "tests", secrets.token_hex(32))
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        for name in ROOMS:
            patch.delenv(name, raising=False)
        with running(
            "configs/demo.yaml",
            Path(folder),
            options=["--livekit-port", str(port)],
            LIVEKIT_API_KEY=keys.api_key,
            LIVEKIT_API_SECRET=keys.api_secret,
        ) as system:
            yield replace(system, livekit=keys)


def rooms_of(system: System) -> tuple[str, str]:
    """State and detail, as GET /ready tells them."""
    answer = httpx.get(f"{system.url}/ready", trust_env=False)
    assert answer.status_code == 200
    rooms = answer.json()["rooms"]
    return rooms["state"], rooms["detail"]


async def connected(system: System) -> None:
    async def true() -> bool:
        return rooms_of(system)[0] == "connected"

    await until(true, "a connection with the LiveKit server")


def alike(one: str, other: str) -> bool:
    """But for a letter: on a busy machine a room loses a frame now and then."""
    return SequenceMatcher(None, one, other).ratio() > 0.8


async def by_socket(system: System) -> str:
    """What the agent answers."""
    async with RealtimeCaller(system.url) as caller:
        await caller.type("hello")
        return (await caller.answer()).text


async def told(system: System, line: str) -> None:
    async def true() -> bool:
        return line in system.said()

    await until(true, f"this line: {line}")


async def ended(system: System) -> int:
    async def true() -> bool:
        return system.process.poll() is not None

    await until(true, "an end", STOP_S)
    return int(system.process.returncode)


async def test_a_server_of_its_own_is_told_and_leads_to_the_agent(own: System) -> None:
    await connected(own)
    await told(own, f"{own.keys.url} (token: POST {own.url}/api/livekit/token)")
    await told(own, "tokens need no key: who reaches this address may join")
    assert len(livekit_servers(descendants(own.process.pid))) == 1
    async with with_ticket(await request_ticket(own.url)) as caller:
        assert (await type_to(caller, "hello")).text == "You said: hello."


async def test_a_call_from_the_command_line_keeps_both_sides(own: System, tmp_path: Path) -> None:
    await connected(own)
    write_wav(tmp_path / "question.wav", said("the air is pure"))
    saved = tmp_path / "both.wav"
    out = await call("--room", "-", str(tmp_path / "question.wav"), "--url", own.url, "--save", str(saved))
    assert len(lines_of("joined", out)) == 1
    [heard], [spoken] = lines_of("caller", out), lines_of("agent", out)
    assert alike(heard, "the air is pure")
    assert heard in spoken.lower()
    assert "first_frame_sent" in out
    left, right = sides(saved)
    assert tones.decode(left, 24_000) == "the air is pure"
    assert alike(letters(tones.decode(right, 24_000)), letters(tones.audible(spoken)))


async def test_its_server_is_started_again_when_it_dies(own: System) -> None:
    await connected(own)
    [first] = livekit_servers(descendants(own.process.pid))
    psutil.Process(first).kill()
    await told(own, "the LiveKit server is started again: it ended with status -9")

    async def another() -> bool:
        servers = livekit_servers(descendants(own.process.pid))
        return bool(servers) and servers != [first] and rooms_of(own) == ("connected", own.keys.url)

    await until(another, "another server, and a connection with it")
    async with with_ticket(await request_ticket(own.url)) as caller:
        assert (await type_to(caller, "here again")).text == "You said: here again."


async def test_sigterm_lets_the_call_under_way_end_and_takes_no_other(own: System) -> None:
    await connected(own)
    below = descendants(own.process.pid)
    async with with_ticket(await request_ticket(own.url)) as caller:
        await caller.type(LONG)
        await caller.first_sound(PATIENCE_S)
        own.process.send_signal(signal.SIGTERM)
        await told(own, "no new calls; under way: 1")
        with pytest.raises(Busy):
            await request_ticket(own.url)
        with pytest.raises(Busy):
            await by_socket(own)
        with pytest.raises(NobodyThere, match="no agent came"):
            async with RoomCaller(own.keys.dispatching("refused", {}), agent_timeout_s=2.0):
                pass
        assert (await caller.answer(PATIENCE_S)).text == f"You said: {LONG}."
        assert (await type_to(caller, "goodbye")).text == "You said: goodbye."
        assert own.process.poll() is None
    assert await ended(own) == 0
    assert own.said().endswith("stopped\n")
    assert [pid for pid in below if psutil.pid_exists(pid)] == []


async def test_the_server_of_the_settings_is_used(demo_rooms: System) -> None:
    await connected(demo_rooms)
    assert rooms_of(demo_rooms)[1] == demo_rooms.keys.url
    await told(demo_rooms, f"{demo_rooms.keys.url} (token: POST")
    assert livekit_servers(descendants(demo_rooms.process.pid)) == []
    async with with_ticket(await request_ticket(demo_rooms.url)) as caller:
        assert (await type_to(caller, "hello")).text == "You said: hello."


async def test_a_server_that_nobody_finds_costs_the_rooms_and_nothing_else(tmp_path: Path) -> None:
    nowhere = Keys(f"ws://127.0.0.1:{free_port()}", "key", secrets.token_hex(32))
    with running("configs/demo.yaml", tmp_path, nowhere) as system:
        await told(system, f"no rooms yet: no LiveKit server at {nowhere.url}")
        state, detail = rooms_of(system)
        assert state == "connecting"
        assert f"no LiveKit server at {nowhere.url}" in detail
        with pytest.raises(NobodyThere, match="has no rooms: no LiveKit server at"):
            await request_ticket(system.url)
        async with RealtimeCaller(system.url) as caller:
            await caller.type("hello")
            assert (await caller.answer()).text == "You said: hello."
            # SIGTERM waits for this call, and Ctrl-C ends the waiting.
            system.process.send_signal(signal.SIGTERM)
            await told(system, "no new calls; under way: 1")
            system.process.send_signal(signal.SIGINT)
            assert await ended(system) == 0
            with pytest.raises(CallFailed):
                await caller.type("are you there?")
        assert system.said().endswith("stopped\n")
        assert system.said().count("no rooms yet") == 1


async def test_where_no_server_can_be_had_the_rest_runs_and_says_what_is_missing(tmp_path: Path) -> None:
    without = {
        "PATH": "/usr/bin:/bin",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "GOPROXY": "off",  # where there is a Go, it finds no source
        "PIP_NO_INDEX": "1",  # where there is none, pip finds none
        "PIP_FIND_LINKS": str(tmp_path),
        "PIP_CONFIG_FILE": os.devnull,
    }
    with running("configs/demo.yaml", tmp_path, None, **without) as system:
        await told(system, "no rooms: put a livekit-server on PATH, or set LIVEKIT_URL")
        lines = [line for line in system.said().splitlines() if line.startswith("no rooms")]
        assert len(lines) == 2
        assert "there is no livekit-server on PATH, and building it" in lines[0]
        assert rooms_of(system)[0] == "connecting"
        assert await by_socket(system) == "You said: hello."
        assert livekit_servers(descendants(system.process.pid)) == []
