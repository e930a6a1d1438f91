"""Ports of this machine that nobody has, and why a port cannot be had."""

import errno
import random
import socket
from collections.abc import Container

PORTS = range(20_000, 32_768)
"""Below those that Linux and macOS give to outgoing connections: who is to listen comes up seconds or minutes later,
and any connection made meanwhile could have taken one of theirs."""


_promised: set[int] = set()


def promise(port: int) -> None:
    """Somebody will listen there: from now on it is not free, though it may take seconds until they do."""
    _promised.add(port)


def free_port(besides: Container[int] = ()) -> int:
    """One that nobody listens on, by TCP or UDP, nor is promised, and none of `besides`."""
    while True:
        if (port := random.choice(PORTS)) in besides or port in _promised:
            continue
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("", port))
                udp.bind(("", port))
            except OSError:
                continue
            return port


def free_ports(count: int) -> list[int]:
    """Several, each a different one."""
    found: list[int] = []
    while len(found) < count:
        found.append(free_port(besides=found))
    return found


def cannot_listen(host: str, port: int, option: str = "--port") -> str | None:
    """Why nobody could listen there; None if somebody can. The sentence says what to change: `option`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        return f"{host!r} is no address of this machine: choose another one with --host"
    with socket.socket(family, kind, protocol) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(address)
        except OSError as refused:
            if refused.errno == errno.EADDRINUSE:
                return f"port {port} on {host} is in use: choose another one with {option}"
            return (
                f"cannot listen on port {port} of {host} ({refused.strerror}): choose others with {option} and --host"
            )
    return None
