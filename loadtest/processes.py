"""What processes of this machine use: processor time, memory, threads, files. For benchmarks beside the server."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from loadtest.wire import CallFailed

try:
    import psutil
except ImportError as missing:
    raise CallFailed("what a call costs is measured with psutil: pip install 'antiphon[bench]'") from missing

INGRESS = "ray::ServeReplica:"


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


def ingress_processes() -> list[psutil.Process]:
    """The replicas that host calls, as Ray names them: `ray::ServeReplica:antiphon:ingress`."""
    return _where(lambda words: words[0].startswith(INGRESS) and "ingress" in words[0].lower())


def server_processes(url: str) -> list[psutil.Process]:
    """Whoever listens at this address on this machine, if it can be seen."""
    port = int(url.rpartition(":")[2].partition("/")[0])
    with suppress(psutil.AccessDenied):
        sockets = psutil.net_connections("tcp")
        pids = {s.pid for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr and s.laddr.port == port and s.pid}
        return [psutil.Process(pid) for pid in sorted(pids)]
    return []


def by_id(pids: Iterable[int]) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in pids]


def _where(fits: Callable[[list[str]], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if words and fits(words):
                found.append(process)
    return found
