"""Which ports are free, and what is said of those that are not."""

import socket

import pytest

from serve_app import ports
from serve_app.ports import cannot_listen, free_port, free_ports, promise


def test_ports_are_free_or_it_is_said_why_not() -> None:
    found = free_ports(5)
    assert len(set(found)) == 5
    # Who is to listen comes up later: what the system gives to outgoing connections may be taken by then.
    assert max(found) < 32_768
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cannot_listen("127.0.0.1", port) == f"port {port} on 127.0.0.1 is in use: choose another one with --port"
    assert cannot_listen("127.0.0.1", port) is None
    assert "no address of this machine" in str(cannot_listen("no such host", port))
    assert "--host" in str(cannot_listen("192.0.2.1", port))


def test_a_free_port_is_free_and_not_the_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
        socket.socket() as free,
    ):
        udp.bind(("", 0))
        free.bind(("", 0))
        taken = [each.getsockname()[1] for each in (tcp, udp, free)]
        free.close()
        monkeypatch.setattr(ports, "PORTS", taken)
        assert {free_port() for _ in range(20)} == {taken[2]}
        monkeypatch.setattr(ports, "PORTS", [taken[2], *ports.PORTS])
    with socket.socket() as other:
        other.bind(("", 0))
        two = [taken[2], other.getsockname()[1]]
    monkeypatch.setattr(ports, "PORTS", two)
    assert {free_port(besides=two[:1]) for _ in range(20)} == {two[1]}


def test_a_port_that_is_promised_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    two = free_ports(2)
    monkeypatch.setattr(ports, "PORTS", two)
    monkeypatch.setattr(ports, "_promised", set())
    promise(two[0])
    assert {free_port() for _ in range(20)} == {two[1]}
