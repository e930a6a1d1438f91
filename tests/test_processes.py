"""What processes use, and which ones belong to a server. The systems are stand-ins: a door and a replica each."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from loadtest.processes import NOTHING, by_id, ingress_processes, replica_processes, server_processes, usage
from loadtest.server import free_port

WORKER = """
import sys
held = bytearray(64 * 2**20)
files = [open("/dev/null") for _ in range(20)]
for _ in range(3_000_000): pass
print("done", flush=True)
sys.stdin.read()
"""
SYSTEM = """
import subprocess, sys
door = (
    "import socket, sys; door = socket.create_server((sys.argv[1], 0));"
    "print(door.getsockname()[1], flush=True); sys.stdin.read()"
)
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
opened = subprocess.Popen([sys.executable, "-c", door, sys.argv[1]], **pipes)
wait = ["-c", "import sys; sys.stdin.read()"]
names = ["ray::ServeReplica:antiphon:ingress", "ray::ServeReplica:antiphon:asr"]
replicas = [subprocess.Popen([name, *wait], executable=sys.executable, **pipes) for name in names]
print(opened.stdout.readline().strip(), opened.pid, replicas[0].pid, flush=True)
sys.stdin.read()
for process in (opened, *replicas):
    process.communicate()
"""


@contextmanager
def running(program: str, *words: str) -> Iterator[tuple[int, list[str]]]:
    """Its id, and the words that it says first; it ends at the end of its input."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, *words], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.pid, process.stdout.readline().split()


def test_a_process_uses_time_memory_and_files() -> None:
    with running(WORKER) as (pid, _):
        [used] = [usage(by_id([pid]))]
        both = usage(by_id([pid, pid]))
        processes = by_id([pid])
    assert used.cpu_s > 0.02
    assert used.rss_mb > 64
    assert used.threads >= 1
    assert used.files >= 22
    assert both.files == 2 * used.files
    assert usage(processes) == NOTHING  # it has ended
    assert usage([]) == NOTHING


def test_who_listens_at_an_address() -> None:
    with running(SYSTEM, "127.0.0.1") as (_, (port, door, _)):
        for url in (f"ws://127.0.0.1:{port}", f"http://127.0.0.1:{port}/v1/realtime", f"ws://localhost:{port}"):
            assert [process.pid for process in server_processes(url)] == [int(door)]
        assert server_processes(f"ws://192.0.2.1:{port}") == []
    assert server_processes(f"ws://127.0.0.1:{port}") == []


def test_who_listens_on_all_addresses_is_found_at_each() -> None:
    with running(SYSTEM, "0.0.0.0") as (_, (port, door, _)):
        assert [process.pid for process in server_processes(f"ws://127.0.0.1:{port}")] == [int(door)]


@pytest.mark.parametrize("url", ["wss://rooms.invalid", "wss://rooms.invalid:7880", "ws://192.0.2.1"])
def test_elsewhere_nothing_is_seen(url: str) -> None:
    assert server_processes(url) == []
    assert ingress_processes(url) == []


def test_the_ingress_of_one_server_is_not_that_of_another() -> None:
    with running(SYSTEM, "127.0.0.1") as (_, one), running(SYSTEM, "127.0.0.1") as (_, two):
        for port, _, replica in (one, two):
            assert [process.pid for process in ingress_processes(f"http://127.0.0.1:{port}")] == [int(replica)]
            assert [*replica_processes(f"http://127.0.0.1:{port}")] == ["antiphon:asr", "antiphon:ingress"]
    assert ingress_processes(f"http://127.0.0.1:{free_port()}") == []


def test_a_process_that_is_not_there() -> None:
    with pytest.raises(psutil.NoSuchProcess):
        by_id([2**22 + 1])
    assert [process.pid for process in by_id([os.getpid()])] == [os.getpid()]
