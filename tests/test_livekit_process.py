"""Processes that end with ours, however ours ends."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from serve_app.livekit_server.process import LAST_BYTES, end, last_line, spawn

PATIENCE_S = 30.0
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is dead")


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, f"there was never {what}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_it_has_the_environment_the_folder_and_the_priority_that_it_was_given(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.write_text("before\n")
    text = (
        "import os, sys; leads = os.getsid(0) == os.getpid();"
        "print(sys.stdin.read(), sorted(os.environ), os.getcwd(), os.nice(0), leads)"
    )
    before = os.nice(0)
    process = spawn([sys.executable, "-I", "-c", text], {"LANG": "C"}, output, folder=tmp_path, niceness=3)
    assert process.wait(PATIENCE_S) == 0
    first, said = output.read_text().splitlines()
    assert first == "before"
    assert "'PATH'" not in said
    assert said.endswith(f"{tmp_path} {min(19, before + 3)} True")


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    process = spawn([str(tmp_path / "gone")], os.environ, tmp_path / "output")
    assert process.wait(PATIENCE_S) == 1
    assert last_line(tmp_path / "output") == f"{tmp_path}/gone: No such file or directory"


FAMILY = (
    "import subprocess, sys, time; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); time.sleep(600)"
)


def test_all_that_it_started_ends_with_it(tmp_path: Path) -> None:
    process = spawn([sys.executable, "-c", FAMILY], os.environ, tmp_path / "output")
    until(lambda: last_line(tmp_path / "output", "").isdecimal(), "a child")
    child = int(last_line(tmp_path / "output"))
    assert lives(child)
    end(process)
    assert process.wait(PATIENCE_S) != 0
    until(lambda: not lives(child), "an end of the child")
    end(process)  # of one that has ended nothing is left to end


@LINUX
def test_it_ends_with_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[subprocess.Popen[bytes]] = []
    over = threading.Event()

    def keep() -> None:
        started.append(spawn(["/bin/sleep", "600"], os.environ, tmp_path / "output"))
        over.wait(PATIENCE_S)

    thread = threading.Thread(target=keep)
    thread.start()
    until(lambda: bool(started) and psutil.Process(started[0].pid).name() == "sleep", "a process")
    over.set()
    thread.join(PATIENCE_S)
    assert started[0].wait(PATIENCE_S) == -9


@LINUX
def test_it_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, time; from serve_app.livekit_server.process import spawn;"
        f"print(spawn(['/bin/sleep', '600'], os.environ, pathlib.Path({str(tmp_path / 'output')!r})).pid, flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.kill()
    until(lambda: not lives(child), "an end of the child")


def test_a_parent_that_died_before_is_noticed(tmp_path: Path) -> None:
    from serve_app.livekit_server.process import LAUNCHER

    stranger = str(os.getpid() + 1)
    words = [sys.executable, "-I", "-S", str(LAUNCHER), stranger, "0", "/bin/echo", "started"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S)
    if sys.platform == "linux":
        assert (done.returncode, done.stdout) == (1, "")
    else:
        assert (done.returncode, done.stdout) == (0, "started\n")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "nothing"),
        (b"\n \n", "nothing"),
        (b"first\n  second  \n\n", "second"),
        (b"no end", "no end"),
        (b"bad \xff byte", "bad \N{REPLACEMENT CHARACTER} byte"),
        (b"x" * 2 * LAST_BYTES + b"\nlast", "last"),
    ],
)
def test_the_last_line(content: bytes, line: str, tmp_path: Path) -> None:
    (tmp_path / "output").write_bytes(content)
    assert last_line(tmp_path / "output", "nothing") == line
    assert last_line(tmp_path / "gone", "nothing") == "nothing"


def test_the_last_line_that_starts_with_something(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("ERROR: one\nERROR: two\n  detail\n")
    assert last_line(tmp_path / "output", starting="ERROR: ") == "ERROR: two"
    assert last_line(tmp_path / "output", starting="WARNING: ") == "detail"
