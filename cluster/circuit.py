"""Which replicas are not asked for a while, because they failed, died or froze. One `CIRCUITS` a process.

Whoever asks replicas says how it went; whoever routes asks who is sound. A replica that failed is avoided for a pause.
After it one request may try it again: an answer makes it sound, another failure doubles the pause. Replicas are named
by Serve's unique ids. May be used from several threads: a router runs on one of its own.

A request router has its class pickled by value, and with it the globals of its module: it must import `CIRCUITS` inside
its methods, or inherit from `cluster.steering.Steering`, to share these.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

FIRST_PAUSE_S = 1.0
"""A replica that was only slow is soon back, and one that died is soon forgotten."""

LONGEST_PAUSE_S = 10.0
"""Each try of a frozen replica costs one caller a gap, until Serve's health checks end it; but one that has thawed must
be known to answer before the next one fails."""


@dataclass(slots=True)
class Circuit:
    """An open one. `tried`: a request has been let through since `until_s`."""

    pause_s: float
    until_s: float
    tried: bool = False


class Circuits:
    """Of all replicas that one process asks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.configure(first_pause_s=FIRST_PAUSE_S, longest_pause_s=LONGEST_PAUSE_S)
        self._clock = clock
        self._open: dict[str, Circuit] = {}
        self._present: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()

    def configure(self, *, first_pause_s: float, longest_pause_s: float) -> None:
        """Of failures from now on."""
        self.first_pause_s, self.longest_pause_s = first_pause_s, longest_pause_s

    # --- whoever routes

    def present(self, deployment: str, replicas: Collection[str]) -> None:
        """These replicas serve it now. Others of it are forgotten."""
        with self._lock:
            gone = self._present.get(deployment, frozenset()).difference(replicas)
            self._present[deployment] = frozenset(replicas)
            for replica in gone:
                self._open.pop(replica, None)

    def sound(self, replica: str) -> bool:
        """May it be asked?"""
        circuit = self._open.get(replica)
        return circuit is None or self._clock() >= circuit.until_s

    def sent(self, replica: str) -> None:
        """A request is on its way to it. After a pause this is the one that tries it: others wait for what becomes of
        it, or for another pause."""
        if self._open:
            with self._lock:
                circuit = self._open.get(replica)
                if circuit is not None and self._clock() >= circuit.until_s:
                    circuit.tried = True
                    circuit.until_s = self._clock() + circuit.pause_s

    # --- whoever asks

    def failed(self, replica: str) -> None:
        """It failed, died or said nothing in time. Requests that fail together count once."""
        with self._lock:
            circuit = self._open.get(replica)
            if circuit is None:
                self._open[replica] = Circuit(self.first_pause_s, self._clock() + self.first_pause_s)
            elif circuit.tried:
                pause_s = min(2 * circuit.pause_s, self.longest_pause_s)
                self._open[replica] = Circuit(pause_s, self._clock() + pause_s)

    def answered(self, replica: str) -> None:
        """It said something."""
        if self._open:
            with self._lock:
                self._open.pop(replica, None)

    def another(self, deployment: str, than: str) -> bool:
        """Is there another sound replica of it?"""
        return any(replica != than and self.sound(replica) for replica in self._present.get(deployment, ()))


CIRCUITS = Circuits()
