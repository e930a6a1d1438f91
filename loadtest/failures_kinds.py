"""What may go wrong with a server's processes, and how to make it so, on the machine where it runs."""

import random
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psutil

from loadtest.processes import cluster_processes, system_processes

MODELS = ("asr", "llm", "tts", "turn")
REPLICA = "ray::ServeReplica:antiphon:"

Server = Literal["host", "cluster", "rooms"]
"""What a kind needs: `antiphon up`, several nodes (`failures_cluster`), or `antiphon up` with calls in rooms."""


@dataclass(frozen=True, slots=True)
class Kind:
    """`title`: how the title of a process begins that is struck; of Ray's programs it is the name. `frozen_s`: it is
    stopped for so long and then goes on; 0: it is killed, and another one takes its place. `lasts`: turns are disturbed
    until that is there."""

    name: str
    title: str
    frozen_s: float = 0.0
    server: Server = "host"
    lasts: bool = False

    def processes(self, url: str) -> list[psutil.Process]:
        """Of the server at this address. Any of them may be struck."""
        return [each for each in system_processes(url) if _title(each).startswith(self.title)]

    def strike(self, process: psutil.Process) -> bool:
        """False: somebody else was quicker."""
        return self._send(process, signal.SIGSTOP if self.frozen_s else signal.SIGKILL)

    def let_go_on(self, process: psutil.Process) -> None:
        """After it was frozen."""
        if self.frozen_s:
            self._send(process, signal.SIGCONT)

    def _send(self, process: psutil.Process, number: signal.Signals) -> bool:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
            return True
        return False


class GcsKind(Kind):
    """The head's GCS, which every node and Serve's controller ask."""

    def processes(self, url: str) -> list[psutil.Process]:
        return [each for each in cluster_processes(url) if _name(each) == self.title]


class NodeKind(Kind):
    """A node with all that runs on it, where that is a replica of each model; its raylet stands for it."""

    def processes(self, url: str) -> list[psutil.Process]:
        return [each for each in cluster_processes(url) if _name(each) == self.title and _has_all_models(each)]

    def _send(self, process: psutil.Process, number: signal.Signals) -> bool:
        for each in _below(process):
            super()._send(each, number)
        return super()._send(process, number)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(Kind(f"{model} killed", f"{REPLICA}{model}") for model in MODELS),
        *(Kind(f"{model} frozen", f"{REPLICA}{model}", frozen_s=4.0) for model in MODELS),
        Kind("controller killed", "ray::ServeController"),
        NodeKind("node killed", "raylet", server="cluster", lasts=True),
        NodeKind("node frozen", "raylet", frozen_s=4.0, server="cluster"),
        GcsKind("gcs killed", "gcs_server", server="cluster", lasts=True),
        Kind("ingress killed", f"{REPLICA}ingress", server="rooms"),
    )
}
"""By name, in the order of a run. Further ones go here."""


def chosen(names: str) -> list[Kind]:
    """The kinds whose names begin with one of these, between commas; all of them where nothing is named. Raises
    ValueError where a name fits none."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if not any(kind.startswith(name) for kind in KINDS):
            raise ValueError(f"no kind of failure is called {name!r}: there are {', '.join(KINDS)}")
    return [kind for name, kind in KINDS.items() if not wanted or any(name.startswith(each) for each in wanted)]


def victim(processes: Sequence[psutil.Process], drawn: random.Random) -> psutil.Process | None:
    """One of them; None where there are none. The same draw takes the same one: they are sorted by age."""
    return drawn.choice(sorted(processes, key=lambda each: each.pid)) if processes else None


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return next(iter(process.cmdline()), "")
    return ""


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return ""


def _below(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(process.children(recursive=True))
    return []


def _has_all_models(raylet: psutil.Process) -> bool:
    titles = [_title(each) for each in _below(raylet)]
    return all(any(title.startswith(f"{REPLICA}{model}") for title in titles) for model in MODELS)
