"""One LiveKit server on this machine: the real program, and stand-ins for how it can fail."""

import json
import socket
import threading
from pathlib import Path

import psutil
import pytest
from livekit import api

from serve_app.livekit_server import local
from serve_app.livekit_server.local import LocalLiveKit, ServerEnded
from tests.stand_in import program

PATIENCE_S = 30.0
SECRET = "chosen by somebody, of 32 letters"


async def rooms(server: LocalLiveKit, secret: str) -> int:
    """How many there are, asked with the server's API."""
    url = server.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(url, server.api_key, secret, failover=False) as service:
        return len((await service.room.list_rooms(api.ListRoomsRequest())).rooms)


async def test_it_takes_its_own_keys_and_is_the_same_after_its_death(
    livekit_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEKIT_KEYS", "other: secret")  # settings of the program: of another server
    monkeypatch.setenv("LIVEKIT_BIND", "192.0.2.1")
    monkeypatch.setenv("UDP_PORT", "1")
    server = LocalLiveKit(tmp_path / "log")
    assert server.pid is None
    try:
        for _ in range(2):
            server.start(livekit_program)
            assert server.answers()
            assert await rooms(server, server.api_secret) == 0
            with pytest.raises(api.ServerError):
                await rooms(server, "somebody else's secret, which is long enough")
            with pytest.raises(RuntimeError, match="runs already"):
                server.start(livekit_program)
            assert server.wait(0) is None
            assert server.pid is not None
            assert server.api_secret not in " ".join(psutil.Process(server.pid).cmdline())
            psutil.Process(server.pid).kill()
            assert server.wait(PATIENCE_S) == -9
            assert server.pid is None
            assert not server.answers()
    finally:
        server.kill()


async def test_keys_that_were_chosen_and_a_wildcard_address(livekit_program: Path, tmp_path: Path) -> None:
    server = LocalLiveKit(tmp_path / "log", host="0.0.0.0", keys=("chosen", SECRET))
    try:
        server.start(livekit_program)
        assert server.url == f"ws://127.0.0.1:{server.port}"
        assert server.api_key == "chosen"
        assert await rooms(server, SECRET) == 0
    finally:
        server.kill()
    assert server.wait(0) is not None


def test_a_port_that_is_taken_is_the_reason(livekit_program: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = LocalLiveKit(tmp_path / "log", port=taken.getsockname()[1])
        with pytest.raises(ServerEnded, match=r"status \d+: .*address already in use"):
            server.start(livekit_program)
    assert server.pid is None


def test_a_program_that_ends_is_quoted(tmp_path: Path) -> None:
    broken = program(tmp_path / "broken", "print('something'); raise SystemExit('could not parse config')")
    with pytest.raises(ServerEnded, match="it ended with status 1: could not parse config"):
        LocalLiveKit(tmp_path / "log").start(broken)


def test_a_program_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "START_S", 0.5)
    server = LocalLiveKit(tmp_path / "log")
    with pytest.raises(ServerEnded, match=r"it did not answer within 0.5 s: it said nothing"):
        server.start(program(tmp_path / "silent", "import time; time.sleep(600)"))
    assert server.pid is None
    assert server.wait(0) == -9


def test_nobody_waits_for_a_start_that_nobody_wants(tmp_path: Path) -> None:
    over = threading.Event()
    over.set()
    server = LocalLiveKit(tmp_path / "log")
    try:
        server.start(program(tmp_path / "silent", "import time; time.sleep(600)"), over)
        assert server.pid is not None
    finally:
        server.kill()
    assert server.pid is None


def test_what_was_not_started_neither_ends_nor_is_waited_for(tmp_path: Path) -> None:
    server = LocalLiveKit(tmp_path / "log")
    server.kill()
    with pytest.raises(ServerEnded, match="not started"):
        server.wait(0)


@pytest.mark.parametrize(
    ("host", "at"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "localhost"),
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("::1", "[::1]"),
    ],
)
def test_its_address_from_this_machine(host: str, at: str, tmp_path: Path) -> None:
    assert LocalLiveKit(tmp_path / "log", host=host, port=7880).url == f"ws://{at}:7880"


def test_two_have_nothing_in_common(tmp_path: Path) -> None:
    one, two = (LocalLiveKit(tmp_path / "log") for _ in range(2))
    assert one.api_key != two.api_key
    assert one.api_secret != two.api_secret
    assert len(one.api_secret) >= 32  # the server complains about shorter ones


def test_the_log_tells_of_no_secret(livekit_program: Path, tmp_path: Path) -> None:
    server = LocalLiveKit(tmp_path / "log")
    try:
        server.start(livekit_program)
    finally:
        server.kill()
    said = (tmp_path / "log").read_text()
    assert json.dumps(server.port) in said
    assert server.api_secret not in said
