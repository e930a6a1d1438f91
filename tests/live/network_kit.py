"""A network of one caller's own, which can be cut: a Linux network namespace with one cable to this machine."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FarAway:
    """`address`: this machine, seen from there."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """The same command, run there."""
        return ["ip", "netns", "exec", self.name, *words]

    def cut(self) -> None:
        _ip("link", "set", self.name, "down")

    def mend(self) -> None:
        _ip("link", "set", self.name, "up")


@contextmanager
def far_away() -> Iterator[FarAway | None]:
    """None where this machine lets nobody make networks."""
    name = f"far{random.randrange(10**6)}"
    net = f"10.{random.randrange(100, 250)}.{random.randrange(250)}"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "there", "netns", name)
        _ip("address", "add", f"{net}.1/30", "dev", name)
        _ip("link", "set", name, "up")
        for words in (("address", "add", f"{net}.2/30", "dev", "there"), ("link", "set", "there", "up")):
            _ip("-n", name, *words)
        _ip("-n", name, "link", "set", "lo", "up")
        yield FarAway(name, f"{net}.1")
    finally:
        _ip("netns", "delete", name)  # the cable goes with it


def _ip(*words: str) -> None:
    _run(["ip", *words])


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
