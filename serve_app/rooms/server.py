"""The LiveKit server: the tokens it believes, and what its API tells and does."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import aiohttp
from google.protobuf.json_format import ParseDict, ParseError
from livekit import api
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.room import RoomConfiguration

from deployments.errors import BadRequest
from serve_app.options import LiveKitOptions
from serve_app.rooms.request import AGENT_PREFIX, TokenRequest
from serve_app.transports.livekit_words import AGENT, CALL, STATE

ASK_S = 5.0
"""The server's API answers in milliseconds; one that takes so long is not there."""
AGENT_TOKEN_TTL = timedelta(hours=6)
"""LiveKit renews a participant's token while it is connected; this one must only outlive the joining."""


class ServerGone(Exception):
    """The LiveKit server does not answer, or refuses us. The message says which."""


@dataclass(frozen=True, slots=True)
class Badge:
    """Who an agent is in its room."""

    identity: str
    attributes: Mapping[str, str]

    @classmethod
    def new(cls, agent_name: str, call: str) -> "Badge":
        attributes = {AGENT: agent_name, CALL: call, STATE: "initializing"}
        return cls(f"{AGENT_PREFIX}{uuid4().hex[:12]}", attributes)


def with_scheme(url: str, scheme: str) -> str:
    """`url` with "http" or "ws" for its scheme, secure where it was."""
    parts = urlsplit(url)
    secure = "s" if parts.scheme in ("https", "wss") else ""
    return urlunsplit((scheme + secure, parts.netloc, parts.path.rstrip("/"), "", ""))


class LiveKitServer:
    """One server, or a cluster of them behind one address."""

    def __init__(self, options: LiveKitOptions) -> None:
        assert options.url is not None
        self._options = options
        self._key, self._secret = options.api_key or "", options.api_secret or ""
        self.url = with_scheme(options.url, "ws")
        self._api: api.LiveKitAPI | None = None

    # --- tokens

    def worker_token(self) -> str:
        """For registering as an agent worker."""
        return self._token().with_grants(api.VideoGrants(agent=True)).to_jwt()

    def agent_token(self, room: str, badge: Badge, asked: TokenRequest | None = None) -> str:
        """For an agent that joins without a job of LiveKit's. Where it comes before its caller, the room is made as
        they `asked`: a configuration acts only when a room is made."""
        grants = api.VideoGrants(room_join=True, room=room, agent=True, can_update_own_metadata=True)
        token = self._token().with_identity(badge.identity).with_kind("agent").with_grants(grants)
        if asked is not None:
            token = _configured(token, asked)
        return token.with_attributes(dict(badge.attributes)).with_ttl(AGENT_TOKEN_TTL).to_jwt()

    def caller_token(self, asked: TokenRequest) -> str:
        """The caller may publish sound, listen, type, and change their own attributes. Where their entering makes the
        room, because the agent that waited there has left, LiveKit calls the agent. Raises BadRequest for a room
        configuration that LiveKit does not know."""
        grants = api.VideoGrants(room_join=True, room=asked.room_name, can_update_own_metadata=True)
        token = self._token().with_identity(asked.participant_identity).with_name(asked.participant_name)
        token = token.with_metadata(asked.participant_metadata).with_attributes(dict(asked.participant_attributes))
        name = self._options.agent_name
        token = _configured(token, asked, {"agent_name": name, "metadata": asked.agent_metadata} if name else None)
        return token.with_grants(grants).with_ttl(timedelta(seconds=self._options.token_ttl_s)).to_jwt()

    def _token(self) -> api.AccessToken:
        return api.AccessToken(self._key, self._secret)

    # --- its API

    async def rooms(self) -> list[Room]:
        """Raises ServerGone, as all below."""
        return list((await self._ask(self._service().room.list_rooms(api.ListRoomsRequest()))).rooms)

    async def participants(self, room: str) -> list[ParticipantInfo]:
        asked = api.ListParticipantsRequest(room=room)
        return list((await self._ask(self._service().room.list_participants(asked))).participants)

    async def dispatch_metadata(self, room: str, agent_name: str) -> str | None:
        """The metadata of the room's dispatch of this agent; None when it has none."""
        found = await self._ask(self._service().agent_dispatch.list_dispatch(room))
        return next((dispatch.metadata for dispatch in found if dispatch.agent_name == agent_name), None)

    async def remove(self, room: str, identity: str) -> None:
        asked = api.RoomParticipantIdentity(room=room, identity=identity)
        await self._ask(self._service().room.remove_participant(asked))

    def _service(self) -> api.LiveKitAPI:
        """Made on first use: it wants a running event loop."""
        if self._api is None:
            url = with_scheme(self.url, "http")
            limit = aiohttp.ClientTimeout(total=ASK_S)
            self._api = api.LiveKitAPI(url, self._key, self._secret, timeout=limit, failover=False)
        return self._api

    @staticmethod
    async def _ask(request: Any) -> Any:
        try:
            async with asyncio.timeout(ASK_S):
                return await request
        except (api.ServerError, aiohttp.ClientError, TimeoutError, OSError) as gone:
            raise ServerGone(f"{type(gone).__name__}: {gone}") from gone

    async def close(self) -> None:
        if self._api is not None:
            await self._api.aclose()


def _configured(token: api.AccessToken, asked: TokenRequest, agent: Mapping[str, str] | None = None) -> api.AccessToken:
    config = {**asked.room_config, "agents": [agent] if agent else []}
    try:
        return token.with_room_config(ParseDict(config, RoomConfiguration()))
    except ParseError as wrong:
        raise BadRequest(f"'room_config' is wrong: {wrong}", field="room_config") from wrong
