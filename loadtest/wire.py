"""The connection of a call: its address, how it is opened, and what it means when that fails."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

Event = dict[str, Any]
"""One event of the Realtime protocol, as it stands on the wire."""

DEFAULT_URL = "ws://127.0.0.1:8000/v1/realtime?model=antiphon"
OVER = 1000
TRY_AGAIN_LATER = 1013  # RFC 6455's registry of close codes
OPEN_TIMEOUT_S, CLOSE_TIMEOUT_S = 10.0, 2.0
MAX_EVENT_BYTES = 16 * 1024 * 1024


class CallFailed(Exception):
    """The call cannot go on. The message is a sentence for a person."""


class NobodyThere(CallFailed):
    """The address is wrong, or no server listens there."""


class Busy(CallFailed):
    """The server is there and takes no more calls."""


class CallOver(CallFailed):
    """The agent has said its last word, while the caller still wanted something."""


class NoAnswer(CallFailed):
    """The call stands, but the answer did not come in time."""


def realtime_url(url: str, extensions: Sequence[str] = ()) -> str:
    """A complete address from any part of one: `http://host:port` will do.

    `extensions` are Antiphon's own events to ask for; strict clients ask for none and see none.
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.hostname:
        raise NobodyThere(f"{url} is no address of a server: it looks like {DEFAULT_URL}")
    query = {"model": "antiphon", **dict(parse_qsl(parts.query))}
    if extensions:
        query["antiphon_events"] = ",".join(extensions)
    path = parts.path if parts.path.strip("/") else "/v1/realtime"
    return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


def http_url(url: str) -> str:
    """`http://host:port` of the same server, for what is asked over HTTP."""
    parts = urlsplit(realtime_url(url))
    return f"{'https' if parts.scheme == 'wss' else 'http'}://{parts.netloc}"


def is_here(url: str) -> bool:
    """Is the server on this machine? Then no proxy stands between."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


@asynccontextmanager
async def connection(url: str, api_key: str | None = None) -> AsyncIterator[ClientConnection]:
    """An open WebSocket; closed at the end. Raises `NobodyThere` or `Busy`."""
    socket = await _open(url, api_key)
    try:
        yield socket
    finally:
        await socket.close()


async def _open(url: str, api_key: str | None) -> ClientConnection:
    try:
        return await connect(
            url,
            additional_headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
            compression=None,  # base64 of sound does not get smaller
            proxy=None if is_here(url) else True,
            max_size=MAX_EVENT_BYTES,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
        )
    except InvalidURI as wrong:
        raise NobodyThere(str(wrong)) from wrong
    except InvalidStatus as refused:
        raise _refusal(url, refused) from refused
    except InvalidHandshake as refused:
        raise NobodyThere(f"{url} answers, but not as a Realtime server ({refused})") from refused
    except OSError as nobody:  # TimeoutError is one too
        raise NobodyThere(f"nothing answers at {url}: is `antiphon up` running?") from nobody


def _refusal(url: str, refused: InvalidStatus) -> CallFailed:
    status = refused.response.status_code
    if status == 503:
        wait = refused.response.headers.get("Retry-After")
        return Busy(f"{url} takes no more calls now" + (f"; try again in {wait} s" if wait else ""))
    return NobodyThere(f"{url} refuses calls with HTTP {status}")


def why_closed(closed: ConnectionClosed) -> CallFailed:
    """What the end of a connection means, while the caller still wanted something."""
    frame = closed.rcvd
    return CallFailed("the connection was lost") if frame is None else what_ended(frame.code, frame.reason)


def what_ended(code: int | None, reason: str | None) -> CallFailed:
    """The same, from the code and the reason that the server closed with."""
    because = f": {reason}" if reason else ""
    if code == TRY_AGAIN_LATER:
        return Busy(f"the server takes no more calls now{because}")
    if code == OVER:
        return CallOver(f"the agent ended the call{because}")
    return CallFailed(f"the server ended the call with code {code}{because}")


def encode(event: Event) -> str:
    return json.dumps(event, separators=(",", ":"))


def decode(message: str | bytes) -> Event:
    """Raises `CallFailed` for what is no event."""
    try:
        event = json.loads(message)
    except ValueError as garbage:
        raise CallFailed("the server sent something that is not JSON") from garbage
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise CallFailed("the server sent JSON that is no event")
    return event
