"""How a caller gets into a LiveKit room: a ticket of the server's token endpoint, or one signed with one's own keys."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

import httpx
from livekit import api

from loadtest.wire import Busy, CallFailed, NobodyThere, http_url, is_here

AGENT_NAME = "antiphon"
REQUEST_TIMEOUT_S = 20.0
VALID = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where to go, and what lets one in: `ws://…` of a LiveKit server and a token for one of its rooms."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """Of a LiveKit server; with them anybody's ticket can be signed."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)

    @classmethod
    def from_environment(cls) -> Self | None:
        """LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET, or None where one of them is missing."""
        values = [os.environ.get(name, "") for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET")]
        return cls(*values) if all(values) else None

    def ticket(self, room: str, identity: str | None = None) -> Ticket:
        """For a caller. Nobody is asked to come."""
        return Ticket(self.url, self._token(room, identity or fresh("caller")).to_jwt())

    def dispatching(self, room: str, metadata: Mapping[str, Any], agent_name: str = AGENT_NAME) -> Ticket:
        """For a caller whose entering calls the agent, with these settings for the call."""
        dispatch = api.RoomAgentDispatch(agent_name=agent_name, metadata=json.dumps(dict(metadata)))
        config = api.RoomConfiguration(agents=[dispatch])
        return Ticket(self.url, self._token(room, fresh("caller")).with_room_config(config).to_jwt())

    def agent_ticket(self, room: str) -> Ticket:
        """For an agent that enters by itself."""
        grants = api.VideoGrants(room_join=True, room=room, agent=True, can_update_own_metadata=True)
        token = self._token(room, fresh("agent")).with_grants(grants).with_kind("agent")
        return Ticket(self.url, token.to_jwt())

    def _token(self, room: str, identity: str) -> api.AccessToken:
        grants = api.VideoGrants(room_join=True, room=room, can_update_own_metadata=True)
        token = api.AccessToken(self.api_key, self.api_secret).with_identity(identity).with_ttl(VALID)
        return token.with_grants(grants)


def fresh(word: str) -> str:
    """A name that nobody has."""
    return f"{word}-{uuid4().hex[:12]}"


async def request_ticket(
    url: str,
    *,
    api_key: str | None = None,
    room: str | None = None,
    attributes: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    agent_name: str = AGENT_NAME,
) -> Ticket:
    """What `POST /api/livekit/token` gives; `url` is any address of the server.

    `attributes` are the caller's own, `metadata` the settings of the call. Raises `NobodyThere`, `Busy`, `CallFailed`.
    """
    body: dict[str, Any] = {}
    if room is not None:
        body["room_name"] = room
    if attributes:
        body["participant_attributes"] = dict(attributes)
    if metadata:
        body["room_config"] = {"agents": [{"agent_name": agent_name, "metadata": json.dumps(dict(metadata))}]}
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    base = http_url(url)
    try:
        async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, trust_env=not is_here(base)) as client:
            answer = await client.post(f"{base}/api/livekit/token", json=body, headers=headers)
    except httpx.HTTPError as nobody:
        raise NobodyThere(f"nothing answers at {base}: is `antiphon up` running?") from nobody
    return read_ticket(base, answer)


def read_ticket(base: str, answer: httpx.Response) -> Ticket:
    """The ticket in an answer of the token endpoint. Raises what the answer means instead."""
    try:
        said = answer.json()
    except ValueError:
        said = None
    said = said if isinstance(said, dict) else {}
    if answer.status_code == httpx.codes.CREATED and {"server_url", "participant_token"} <= said.keys():
        return Ticket(str(said["server_url"]), str(said["participant_token"]))
    error = said.get("error") if isinstance(said.get("error"), dict) else {}
    assert isinstance(error, dict)
    message = str(error.get("message") or f"{base}/api/livekit/token answers HTTP {answer.status_code}")
    match answer.status_code, error.get("code"):
        case 404 | 405, _:
            raise NobodyThere(f"{base} hands out no tickets for rooms: is it an Antiphon server?")
        case 401, _:
            raise NobodyThere(f"{base} wants its API key for a ticket: {message}")
        case 503, "at_capacity":
            wait = answer.headers.get("Retry-After")
            raise Busy(f"{base} takes no more calls now: {message}" + (f"; try again in {wait} s" if wait else ""))
        case 503, _:
            raise NobodyThere(f"{base} has no rooms: {message}")
    where = f" ({error['field']})" if error.get("field") else ""
    raise CallFailed(f"{base} refuses the ticket: {message}{where}")
