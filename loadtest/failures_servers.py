"""The servers that kinds of failure need, each started for those that need it."""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest.failures_kinds import MODELS, Kind, Server
from loadtest.room_ticket import Keys, fresh
from loadtest.server import free_port, started, started_cluster, started_with_rooms

REPLICAS = 2
TWO_HOSTS = {"ANTIPHON_INGRESS__REPLICAS": "2", "ANTIPHON_CALL__ALLOW_LOOPBACK": "true"}
"""Of calls in rooms."""

REAL_PACE = {
    "asr": {"FIRST_ITEM_MS": "120"},
    "llm": {"FIRST_ITEM_MS": "60", "ITEMS_PER_S": "12"},
    "tts": {"FIRST_ITEM_MS": "60", "ITEMS_PER_S": "3"},
    "turn": {"FIRST_ITEM_MS": "40"},
}
"""Of a synthetic model: about that of the small real ones on a busy GPU."""


def server_settings(resolved: str) -> dict[str, str]:
    """The server's, as variables, beside those of its config, which are given as JSON."""
    known = json.loads(resolved)
    settings = {f"ANTIPHON_{model.upper()}__REPLICAS": str(REPLICAS) for model in MODELS}
    for model, pace in REAL_PACE.items():
        if known[model]["engine"] == "synthetic":
            settings |= {f"ANTIPHON_{model.upper()}__TIMING__{name}": value for name, value in pace.items()}
    return settings


@contextmanager
def serving(server: Server, config: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Its address. Raises `NobodyThere`."""
    match server:
        case "host":
            running = started(config, settings)
        case "cluster":
            running = started_cluster(config, settings)
        case "rooms":
            keys = Keys(f"ws://127.0.0.1:{free_port()}", fresh("key"), secrets.token_hex(32))
            running = started_with_rooms(config, keys, {**settings, **TWO_HOSTS})
    with running as url:
        yield url


def grouped(kinds: Sequence[Kind]) -> list[list[Kind]]:
    """Those that need the same server together: it is started once."""
    servers = dict.fromkeys(kind.server for kind in kinds)
    return [[kind for kind in kinds if kind.server == server] for server in servers]
