"""How `antiphon up` comes to rooms: through the LiveKit server of the settings, or through one of its own."""

import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serve_app.livekit_server.local import LocalLiveKit
from serve_app.settings import Settings

URL = "ANTIPHON_LIVEKIT__URL"
API_KEY = "ANTIPHON_LIVEKIT__API_KEY"
API_SECRET = "ANTIPHON_LIVEKIT__API_SECRET"
TOKEN_API_KEY = "ANTIPHON_LIVEKIT__TOKEN_API_KEY"
EVERYWHERE = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms of one run. `url`: where callers are sent. `own`: the server to start, None where the settings name
    one. `variables`: what the application must be told. `token_key`: made for this run. `hints`: what to say."""

    url: str
    own: LocalLiveKit | None
    variables: Mapping[str, str]
    token_key: str | None
    hints: tuple[str, ...]


def choose(settings: Settings, host: str, livekit_port: int | None, log: Path) -> Rooms:
    """`host`: where the application listens. A server of its own listens there too, on `livekit_port` or on a free
    port, and writes into `log`. Its keys are those of the settings, or some that nobody knows."""
    options = settings.livekit
    keys = (options.api_key, options.api_secret) if options.api_key and options.api_secret else None
    own = LocalLiveKit(log, host=host, port=livekit_port, keys=keys) if options.url is None else None
    variables = {} if own is None else {URL: own.url, API_KEY: own.api_key, API_SECRET: own.api_secret}
    url = options.public_url or options.url or (own.url if own else "")
    token_key = None
    hints = []
    if not is_loopback(host) and options.token_api_key is None:
        token_key = secrets.token_urlsafe(18)
        variables[TOKEN_API_KEY] = token_key
    elif options.token_api_key is None:
        hints.append("tokens need no key: who reaches this address may join (livekit.token_api_key asks for one)")
    if own is not None and host in EVERYWHERE and options.public_url is None:
        hints.append(f"callers elsewhere are sent to {own.url}: set livekit.public_url to where they reach this one")
    return Rooms(url, own, variables, token_key, tuple(hints))


def is_loopback(host: str) -> bool:
    """Nobody but this machine reaches who listens there."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)} if host else set()
        return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)
    except (OSError, ValueError):
        return False
