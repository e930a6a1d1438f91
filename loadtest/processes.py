"""What processes of this machine use: processor time, memory, threads, files. For benchmarks beside the server."""

import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from loadtest.wire import CallFailed

try:
    import psutil
except ImportError as missing:
    raise CallFailed("what a call costs is measured with psutil: pip install 'antiphon[bench]'") from missing

REPLICA = "ray::ServeReplica:"


@dataclass(frozen=True, slots=True)
class Usage:
    """Of some processes together. `cpu_s` is what they have used since they began."""

    cpu_s: float
    rss_mb: float
    threads: int
    files: int

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.cpu_s + other.cpu_s,
            self.rss_mb + other.rss_mb,
            self.threads + other.threads,
            self.files + other.files,
        )


NOTHING = Usage(0.0, 0.0, 0, 0)


def usage(processes: Iterable[psutil.Process]) -> Usage:
    """All of them together; one that has ended counts nothing. `files` are open descriptors, sockets included."""
    total = NOTHING
    for process in processes:
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess), process.oneshot():
            times = process.cpu_times()
            rss_mb = process.memory_info().rss / 2**20
            total += Usage(times.user + times.system, rss_mb, process.num_threads(), process.num_fds())
    return total


def ingress_processes(url: str) -> list[psutil.Process]:
    """The replicas that host the calls of the server at this address, those on this machine. Another server's are left
    out: they are below the nearest process that is above both the door and an ingress."""
    return next((found for each, found in replica_processes(url).items() if each.lower().endswith(":ingress")), [])


def replica_processes(url: str) -> dict[str, list[psutil.Process]]:
    """All replicas of the server at this address, those on this machine, by what Ray calls their deployment:
    `antiphon:asr`. Found as the ingress is."""
    replicas = [(name, each) for each in system_processes(url) if (name := _deployment(each))]
    return {name: [each for other, each in replicas if other == name] for name in sorted(dict(replicas))}


def system_processes(url: str) -> list[psutil.Process]:
    """All processes of the server at this address: everything below the nearest process that is above both the door
    and an ingress."""
    for door in server_processes(url):
        with suppress(psutil.Error):
            for above in door.parents():
                below = above.children(recursive=True)
                if any(_deployment(each).lower().endswith(":ingress") for each in below):
                    return below
    return []


def cluster_processes(url: str) -> list[psutil.Process]:
    """All processes of the nodes of the cluster on this machine that the server at this address is the door of, when
    one program started them."""
    for door in server_processes(url):
        with suppress(psutil.Error):
            for above in door.parents():
                starter = above.parent() if above.name() == "raylet" else None
                if starter is not None:
                    return list(starter.children(recursive=True))
    return []


def server_processes(url: str) -> list[psutil.Process]:
    """Whoever listens at this address; nobody where it is not on this machine or cannot be seen."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme in ("wss", "https") else 80)
    here = {address.address for addresses in psutil.net_if_addrs().values() for address in addresses}
    with suppress(psutil.AccessDenied, OSError):  # an address that nobody knows is an OSError
        asked = {str(entry[4][0]) for entry in socket.getaddrinfo(parts.hostname, port)} & here
        everywhere = {"0.0.0.0", "::"} if asked else set()
        listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
        at = {(address, port) for address in asked | everywhere}
        pids = {each.pid for each in listening if tuple(each.laddr) in at and each.pid}
        return by_id(sorted(pids))
    return []


def by_id(pids: Iterable[int]) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in pids]


def _deployment(process: psutil.Process) -> str:
    """As Ray names them: `ray::ServeReplica:antiphon:ingress`, and what a replica does at the moment after a dot or a
    space. "" for other processes."""
    with suppress(psutil.Error):
        words = process.cmdline()
        if words and words[0].startswith(REPLICA):
            return re.split(r"[.\s]", words[0].removeprefix(REPLICA), maxsplit=1)[0]
    return ""
