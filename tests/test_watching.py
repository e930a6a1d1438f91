"""What `antiphon up` says of a system that starts, runs and ends. The child is a script that tells what it is told to;
the door answers GET /ready as it is told to."""

import contextlib
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from serve_app import watching
from serve_app.supervisor import Supervisor
from serve_app.watching import StartFailed, State, Watcher, read_state
from tests.stand_in import program

CHILD = """
import json, sys, time
for line in sys.stdin:
    order = json.loads(line)
    for event in {script!r}["drain" if "drain" in order else "go"]:
        if event == "ends":
            sys.exit(7)
        if isinstance(event, float):
            time.sleep(event)
        else:
            print(json.dumps(event), flush=True)
"""
READY = (200, {"status": "ready", "rooms": {"state": "connected", "detail": "ws://x"}})
CONNECTING = (200, {"status": "ready", "rooms": {"state": "connecting", "detail": "no LiveKit server at ws://x"}})
LOADING = (503, {"status": "loading", "missing": ["llm", "tts"], "rooms": {"state": "off"}})
DRAIN_S = 60.0


class Door:
    """GET /ready: each answer once, the last for ever."""

    def __init__(self, answers: Sequence[tuple[int, Any]]) -> None:
        self.answers = list(answers)

    def next(self) -> tuple[int, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @contextmanager
    def open(self) -> Iterator[str]:
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = door.next()
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            try:
                yield f"127.0.0.1:{server.server_address[1]}"
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def watching_a(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]) -> Any:
    """A watcher of a child that tells `go` when it is to go and `drain` when it is to drain."""

    @contextmanager
    def watch(
        go: Sequence[Any] = (), drain: Sequence[Any] = (), ready: Sequence[tuple[int, Any]] = (READY,)
    ) -> Iterator[Watcher]:
        child = program(tmp_path / "child", CHILD.format(script={"go": list(go), "drain": list(drain)}))
        monkeypatch.setattr(sys, "executable", str(child))
        log = tmp_path / "log"
        supervisor = Supervisor(log)  # not its context, which ends every process below this one
        with Door(ready).open() as at:
            try:
                supervisor.start()
                supervisor.go({}, "antiphon", dashboard=False)
                yield Watcher(supervisor, at, Path("x.yaml"), log, said.append)
            finally:
                supervisor.dismiss()
                for each in psutil.Process().children():
                    with contextlib.suppress(psutil.NoSuchProcess):
                        if str(supervisor.folder) in each.cmdline():
                            each.kill()
                shutil.rmtree(supervisor.folder)

    return watch


def test_each_step_is_told_once_until_all_is_ready(watching_a: Any, said: list[str]) -> None:
    steps = [{"step": "starting Ray"}, {"loading": ["llm"]}, {"running": True}]
    with watching_a(steps, ready=[LOADING, LOADING, LOADING, READY]) as watcher:
        watcher.wait_until_ready()
        assert watcher.state == State((), "connected", "ws://x")
    assert said == ["starting Ray", "loading: llm", "waiting for: llm, tts"]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([{"step": "starting Ray"}, {"failed": "llm: the file is broken"}], "llm: the file is broken"),
        ([{"problems": ["asr.model: missing", "port: wrong"]}], "x.yaml: asr.model: missing\nx.yaml: port: wrong"),
        (["ends"], "Ray ended unexpectedly with status 7"),
    ],
)
def test_a_start_that_fails_says_why(events: list[Any], reason: str, watching_a: Any) -> None:
    with watching_a(events) as watcher, pytest.raises(StartFailed) as failed:
        watcher.wait_until_ready()
    assert str(failed.value) == reason


def test_a_start_that_never_ends_is_given_up(watching_a: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "START_S", 1.0)
    with watching_a([{"running": True}], ready=[LOADING]) as watcher, pytest.raises(StartFailed, match="after 1 s"):
        watcher.wait_until_ready()


def test_what_answers_before_all_is_running_does_not_count(watching_a: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's server, or the one before."""
    monkeypatch.setattr(watching, "START_S", 1.0)
    with watching_a([{"loading": ["llm"]}]) as watcher, pytest.raises(StartFailed):
        watcher.wait_until_ready()


def test_rooms_are_told_once_they_can_be_joined(
    watching_a: Any, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "WATCH_POLL_S", 0.05)
    monkeypatch.setattr(watching, "TAIL_LINES", 2)
    with watching_a([3.0, "ends"], ready=[CONNECTING, CONNECTING, READY]) as watcher:
        watcher.log.write_text("one\ntwo\nthree\n")
        assert watcher.watch("rooms: ready at ws://x") == 1
    assert said == ["rooms: ready at ws://x"]
    error = capsys.readouterr().err
    assert "Ray ended unexpectedly" in error
    assert "one" not in error
    assert "  two\n  three\n" in error


@pytest.mark.parametrize("complain", [True, False])
def test_rooms_that_do_not_come_are_explained_once_where_nobody_else_does(
    complain: bool, watching_a: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "WATCH_POLL_S", 0.05)
    monkeypatch.setattr(watching, "ROOMS_S", 0.2)
    with watching_a([2.0, "ends"], ready=[CONNECTING]) as watcher:
        assert watcher.watch("rooms: ready", complain=complain) == 1
    expected = "no rooms yet: no LiveKit server at ws://x; it is tried on, and --no-livekit goes without"
    assert said == ([expected] if complain else [])


def test_a_drain_waits_for_the_last_call(watching_a: Any, said: list[str]) -> None:
    counts = [{"calls": 2}, {"calls": 2}, {"loading": []}, {"calls": 1}, {"calls": 0}, {"calls": 9}]
    with watching_a(drain=counts) as watcher:
        watcher.drain(DRAIN_S)
    lines = [f"no new calls; under way: {calls}, for at most 60 s; Ctrl-C stops at once" for calls in (2, 1)]
    assert said == lines


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([{"undrained": "RayError: no ingress"}], "stopping at once: RayError: no ingress"),
        (["ends"], "stopping at once: Ray ended unexpectedly"),
        ([], "stopping at once: nobody says how many calls are under way"),
    ],
)
def test_calls_that_nobody_counts_are_not_waited_for(
    events: list[Any], line: str, watching_a: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ANSWER_S", 1.0)
    with watching_a(drain=events) as watcher:
        watcher.drain(DRAIN_S)
    assert said == [line]


@pytest.mark.parametrize(("events", "number"), [([{"calls": 3}, 600.0], "3"), ([600.0], "unknown")])
def test_calls_that_never_end_are_cut(events: list[Any], number: str, watching_a: Any, said: list[str]) -> None:
    with watching_a(drain=events) as watcher:
        started_s = time.monotonic()
        watcher.drain(0.7)
        assert time.monotonic() - started_s >= 0.7
    assert said[-1] == f"calls under way are cut: {number} (ingress.drain_s is 0.7)"


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (httpx.Response(200, json=READY[1]), State((), "connected", "ws://x")),
        (httpx.Response(503, json=LOADING[1]), State(("llm", "tts"), "off", "")),
        (httpx.Response(200, json={"status": "ready"}), State()),
        (httpx.Response(503, json={"error": "no replica"}), None),
        (httpx.Response(200, json=["ready"]), None),
        (httpx.Response(200, text="ready"), None),
        (httpx.Response(404, text="<html>"), None),
    ],
)
def test_what_is_read_from_an_answer(answer: httpx.Response, state: State | None) -> None:
    assert read_state(answer) == state
