"""The supervisor and what it rests on: ports, the environment of the child, and a tree of processes that ends."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from serve_app.processes import descendants, let_others_go_first
from serve_app.runner import cause_in, under_way
from serve_app.supervisor import NICENESS, environment

PATIENCE_S = 30.0

# A child that ignores SIGTERM, in a session of its own, left behind by its parent: as stubborn as Ray's can be.
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
FAMILY = f"""
import os, subprocess, sys
from serve_app.processes import adopt_orphans, descendants, end_descendants
adopt_orphans()
middle = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True," \\
         " stdout=subprocess.PIPE, stderr=subprocess.DEVNULL); p.stdout.readline(); print(p.pid, flush=True)"
made = subprocess.run([sys.executable, "-c", middle, {STUBBORN!r}], capture_output=True, text=True, check=True)
orphan = int(made.stdout)
assert orphan in descendants(os.getpid()), "not adopted"
end_descendants(os.getpid(), grace_s=0.3)
print(orphan, descendants(os.getpid()))
"""


def test_orphans_that_ignore_sigterm_end_too() -> None:
    done = subprocess.run([sys.executable, "-c", FAMILY], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    orphan, _, left = done.stdout.strip().partition(" ")
    assert left == "[]"
    assert not Path("/proc", orphan).exists()


def test_descendants_are_found_through_generations() -> None:
    inner = "import time; print('up', flush=True); time.sleep(600)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        below = descendants(child.pid)
        assert len(below) == 1
        subprocess.run(["kill", "-9", str(below[0])], check=True)
        child.wait(PATIENCE_S)
    assert descendants(child.pid) == []


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="sessions are all alike here")
def test_what_computes_lets_other_sessions_go_first(tmp_path: Path) -> None:
    """The supervisor's child does, and nobody else. In a process of its own, for a supervisor ends all its children."""
    program = f"""
import pathlib
from serve_app.supervisor import Supervisor
def group(pid):
    return pathlib.Path(f"/proc/{{pid}}/autogroup").read_text().strip()
before = group("self")
with Supervisor(pathlib.Path({str(tmp_path / "log")!r})) as supervisor:
    supervisor.start()
    print(group(supervisor.processes()[0]).split()[-1], group("self") == before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stdout.split() == [str(NICENESS), "True"], done.stderr


def test_a_session_that_has_ended_is_no_trouble() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], start_new_session=True) as child:
        pass
    let_others_go_first(child.pid, 5)


def test_two_environments_do_not_clash(tmp_path: Path) -> None:
    one, two = environment(tmp_path / "one"), environment(tmp_path / "two")
    apart = [
        name for name in one if name.startswith("RAY_SERVE") and name.endswith(("_PORT", "_PATH", "_LOC", "_FILE"))
    ]
    assert len(apart) >= 8
    assert not [name for name in apart if one[name] == two[name]]
    assert Path(one["RAY_AUTH_TOKEN_PATH"]).read_text() != Path(two["RAY_AUTH_TOKEN_PATH"]).read_text()
    assert Path(one["RAY_AUTH_TOKEN_PATH"]).stat().st_mode & 0o077 == 0


def test_what_the_system_cannot_be_without_is_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_USE_GRPC_BY_DEFAULT", "0")
    monkeypatch.setenv("RAY_SERVE_ENABLE_HA_PROXY", "0")
    monkeypatch.setenv("RAY_ADDRESS", "203.0.113.1:6379")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    started = environment(tmp_path)
    assert started["RAY_SERVE_USE_GRPC_BY_DEFAULT"] == "1"
    assert started["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert "RAY_ADDRESS" not in started
    assert started["OMP_NUM_THREADS"] == "3"


def test_the_folder_of_sockets_is_short_and_goes_away(tmp_path: Path) -> None:
    # In a process of its own: at its end a supervisor ends all that is below its process.
    program = f"""
import pathlib
from serve_app.supervisor import Supervisor
with Supervisor(pathlib.Path({str(tmp_path / "log")!r})) as supervisor:
    assert supervisor.folder.is_dir()
print(supervisor.folder)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    folder = done.stdout.strip()
    # HAProxy refuses 98 characters: the folder, "h", the node's id of 56, and the longest name.
    assert len(f"{folder}/h/{'n' * 56}/metrics.sock") <= 97
    assert not Path(folder).exists()


def test_what_the_child_needs_ends_after_it_and_by_itself(tmp_path: Path) -> None:
    program = f"""
import contextlib, pathlib, subprocess, sys
from serve_app.supervisor import Supervisor

@contextlib.contextmanager
def helper():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield
    finally:
        print(supervisor.folder.is_dir(), process.poll(), supervisor._child.poll())
        process.communicate(b"end")
        print(process.returncode)

with Supervisor(pathlib.Path({str(tmp_path / "log")!r})) as supervisor:
    supervisor.ends.enter_context(helper())
    supervisor.start()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout.splitlines()) == (0, ["True None 0", "0"]), done.stderr


def test_a_child_that_dies_is_reported(tmp_path: Path) -> None:
    program = f"""
import sys, pathlib
from serve_app.supervisor import Supervisor
with Supervisor(pathlib.Path({str(tmp_path / "log")!r})) as supervisor:
    supervisor.start()
    supervisor.go({{"applications": "nonsense"}}, "antiphon", dashboard=False)
    seen = []
    while not seen or "ended" not in seen[-1]:
        seen.append(supervisor.event(30.0) or sys.exit("nothing was heard"))
    print(seen)
"""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=3 * PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert "applications" in done.stdout, f"{done.stdout} after {time.monotonic() - started:.1f} s"
    assert "'ended': 2" in done.stdout


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            'The deployment failed to start 1 times in a row. Traceback:\n  File "x.py", line 1, in f\n'
            "deployments.errors.BadModel: the file a of m is broken\nRetrying in 2 s.",
            "the file a of m is broken",
        ),
        ("Deploying failed.\nValueError: no such thing\n", "ValueError: no such thing"),
        (
            "RuntimeError: first\n\nThe above was the cause of\n\nray.exceptions.RayError: last",
            "ray.exceptions.RayError: last",
        ),
        (
            "RuntimeError: HAProxy crashed during startup: [NOTICE]   (7) : haproxy version is 2.8.25\n"
            "[ALERT]    (7) : Binding [h.cfg:7] for frontend a: cannot bind socket (Address already in use)\n"
            "[ALERT]    (7) : [haproxy.main()] Some protocols failed to start their listeners! Exiting.\n",
            "HAProxy: Binding [h.cfg:7] for frontend a: cannot bind socket (Address already in use)",
        ),
        ("something without a traceback", "something without a traceback"),
        ("", "unknown cause"),
    ],
)
def test_the_cause_in_a_traceback(message: str, cause: str) -> None:
    assert cause_in(message) == cause


def test_calls_are_counted_without_those_of_replicas_that_say_nothing() -> None:
    assert under_way([2, 0, 3]) == 5
    assert under_way([2, RuntimeError("died"), 1]) == 3
    assert under_way([0]) == 0
    with pytest.raises(RuntimeError, match="died"):
        under_way([RuntimeError("died"), TimeoutError()])
