"""A system of one's own to call: started for a benchmark, with a LiveKit server where rooms are wanted."""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from loadtest.lines import Target, Transport
from loadtest.room_ticket import Keys, fresh
from loadtest.server import free_port, started, started_with_rooms
from loadtest.speech import resolved_settings


@contextmanager
def started_target(config: Path, transport: Transport, settings: Mapping[str, str]) -> Iterator[Target]:
    """`antiphon up CONFIG`, with more settings as variables, for as long as the context lasts. Raises CallFailed."""
    if transport == "socket":
        with started(config, settings) as url:
            yield Target("socket", url)
        return
    livekit = json.loads(resolved_settings(config))["livekit"]
    own = None
    if livekit["url"] is None:
        own = Keys(f"ws://127.0.0.1:{free_port()}", fresh("key"), secrets.token_hex(32))
    with started_with_rooms(config, own, settings) as url:
        yield Target("room", url, livekit.get("token_api_key"), way=own or Keys.from_environment())
