"""The keeper of a LiveKit server: starts it, starts it again, says why it cannot, and leaves nothing behind."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serve_app.livekit_server import keeper as keeper_module
from serve_app.livekit_server.binary import Abandoned, NoLiveKitServer
from serve_app.livekit_server.keeper import LiveKitKeeper, Say
from serve_app.livekit_server.local import LocalLiveKit
from tests.stand_in import program
from tests.test_livekit_process import lives

PATIENCE_S = 30.0


def until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"there was never {what}"
        time.sleep(0.02)


def finds(path: Path) -> Callable[[Say, threading.Event], Path]:
    return lambda say, over: path


def test_a_server_that_dies_is_started_again_and_ends_with_its_keeper(livekit_program: Path, tmp_path: Path) -> None:
    server, said = LocalLiveKit(tmp_path / "log"), list[str]()
    with LiveKitKeeper(server, said.append, finds(livekit_program)) as keeper:
        until(server.answers, "a server")
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: server.pid not in (None, first) and server.answers(), "another server")
        second = server.pid
        assert second is not None
        [again] = said  # its last words may follow
        assert again.startswith("the LiveKit server is started again: it ended with status -9")
        assert not keeper.gave_up
    assert not lives(second)
    assert not server.answers()


def test_without_a_program_two_lines_say_what_is_missing(tmp_path: Path) -> None:
    said: list[str] = []

    def find(say: Say, over: threading.Event) -> Path:
        raise NoLiveKitServer("building it failed: no network")

    with LiveKitKeeper(LocalLiveKit(tmp_path / "log"), said.append, find) as keeper:
        until(lambda: len(said) == 2, "an explanation")
        assert keeper.gave_up
    assert said[0] == "no rooms: there is no livekit-server on PATH, and building it failed: no network"
    assert "LIVEKIT_URL" in said[1]
    assert "--no-livekit" in said[1]


def test_nobody_waits_for_a_program_that_is_still_looked_for(tmp_path: Path) -> None:
    said: list[str] = []
    looking = threading.Event()

    def find(say: Say, over: threading.Event) -> Path:
        looking.set()
        assert over.wait(PATIENCE_S)
        raise Abandoned

    with LiveKitKeeper(LocalLiveKit(tmp_path / "log"), said.append, find):
        assert looking.wait(PATIENCE_S)
    assert said == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise SystemExit('no such key')", "it ended with status 1: no such key"),
        (None, "it ended with status 1: {path}: Permission denied"),
    ],
    ids=["ends", "is no program"],
)
def test_a_program_that_fails_is_tried_again_less_and_less_often(
    text: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE_S", 0.05)
    path = program(tmp_path / "server", text or "")
    if text is None:
        path.chmod(0o600)
    said: list[str] = []
    with LiveKitKeeper(LocalLiveKit(tmp_path / "log"), said.append, finds(path)):
        until(lambda: len(said) >= 3, "a third start")
    assert set(said) == {f"the LiveKit server is started again: {why.format(path=path)}"}


def test_a_log_that_cannot_be_written_is_a_reason_too(tmp_path: Path) -> None:
    said: list[str] = []
    server = LocalLiveKit(tmp_path / "gone" / "log")
    with LiveKitKeeper(server, said.append, finds(program(tmp_path / "server", ""))):
        until(lambda: said, "a complaint")
    assert f"No such file or directory: '{tmp_path}/gone/log'" in said[0]


def test_a_server_that_is_still_starting_ends_with_its_keeper(tmp_path: Path) -> None:
    server = LocalLiveKit(tmp_path / "log")
    with LiveKitKeeper(server, pytest.fail, finds(program(tmp_path / "silent", "import time; time.sleep(600)"))):
        until(lambda: server.pid is not None, "a process")
        pid = server.pid
        assert pid is not None
    assert not lives(pid)
