"""Where the LiveKit server's program comes from. A stand-in for Go builds it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serve_app.livekit_server import building
from serve_app.livekit_server.binary import NAME, Abandoned, NoLiveKitServer, cached, installed, obtain
from tests.stand_in import go, program

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def an_empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(building, "USUAL_GO", tmp_path / "gone")


def made(said: list[str] | None = None) -> Path:
    lines: list[str] = [] if said is None else said
    return obtain(lines.append, threading.Event())


def kept_files() -> list[str]:
    return sorted(path.name for path in cached().parent.iterdir() if path.suffix != ".lock")


def test_nothing_is_there_at_first() -> None:
    assert installed() is None


def test_one_on_the_path_comes_before_one_that_was_built(tmp_path: Path) -> None:
    cached().parent.mkdir(parents=True)
    cached().write_text("built")
    assert installed() == made() == cached()
    on_path = program(tmp_path / "path" / NAME, "")
    assert installed() == made() == on_path


def test_it_is_built_once_and_nothing_else_stays(tmp_path: Path) -> None:
    go(tmp_path / "path")
    said: list[str] = []
    assert made(said) == cached()
    assert cached().read_text() == "built"
    assert kept_files() == [cached().name]
    assert said[-1] == f"the LiveKit server is built and kept: {cached()}"
    go(tmp_path / "path", complains="asked again")
    assert made() == cached()


def test_what_a_killed_build_left_is_swept(tmp_path: Path) -> None:
    go(tmp_path / "path")
    left = cached().parent / "building-left"
    left.mkdir(parents=True)
    (left / "large").touch()
    made()
    assert kept_files() == [cached().name]


def test_after_a_failure_it_is_tried_anew(tmp_path: Path) -> None:
    go(tmp_path / "path", complains="no room on the disk")
    with pytest.raises(NoLiveKitServer, match="no room on the disk"):
        made()
    assert kept_files() == []
    go(tmp_path / "path")
    assert made() == cached()


def test_a_cache_that_cannot_be_written_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(NoLiveKitServer, match=r"none can be built in .*/cache/antiphon/bin: Not a directory"):
        made()


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"there was never {what}"
        time.sleep(0.02)


def test_who_comes_second_waits_and_takes_what_the_first_has_built(tmp_path: Path) -> None:
    go(tmp_path / "path", slow_s=1.5)
    found: list[Path] = []
    first = threading.Thread(target=lambda: found.append(made()))
    first.start()
    until((tmp_path / "path" / "seen").exists, "a build")
    said: list[str] = []
    found.append(made(said))
    first.join(PATIENCE_S)
    assert found == [cached(), cached()]
    assert said == ["the LiveKit server is being built by another process"]


def test_who_waits_may_give_up(tmp_path: Path) -> None:
    go(tmp_path / "path", slow_s=600)
    over, another_over = threading.Event(), threading.Event()
    ends: list[str] = []

    def ask(event: threading.Event, name: str) -> None:
        try:
            obtain(lambda line: None, event)
        except Abandoned:
            ends.append(name)

    first = threading.Thread(target=ask, args=(over, "builds"))
    first.start()
    until((tmp_path / "path" / "seen").exists, "a build")
    second = threading.Thread(target=ask, args=(another_over, "waits"))
    second.start()
    another_over.set()
    second.join(PATIENCE_S)
    assert ends == ["waits"]
    over.set()
    first.join(PATIENCE_S)
    assert ends == ["waits", "builds"]
    assert kept_files() == []
