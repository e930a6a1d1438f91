"""Sockets outlive the web server that took them: calls on a replica that is to go are ended by their host alone."""

from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol


def let_sockets_last() -> None:
    """In this process, from now on.

    Half a minute after a redeploy or the beginning of a scale-down Serve stops listening, in order that nobody new
    comes by an old way. It tells uvicorn to end, which waits for requests, but cuts sockets at once (1012). Those are
    calls: they may go on for `ingress.drain_s`, are told so, and are closed by `CallHost.drained`. uvicorn waits for
    connections that are still open, and Serve for uvicorn.
    """
    assert AutoWebSocketsProtocol is not None  # websockets is installed: the calls need it
    setattr(AutoWebSocketsProtocol, "shutdown", _shutdown)  # noqa: B010  # no assignment: it is a method


def _shutdown(connection: object) -> None:
    """Called by uvicorn, of each open socket, when it is to end."""
