"""The token endpoint: a caller's ticket into a room, with the agent already on its way there."""

import asyncio
import logging

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from deployments.errors import BadRequest
from serve_app.http_answers import bears, error_answer
from serve_app.options import LiveKitOptions
from serve_app.rooms.agents import Reserved, RoomAgents
from serve_app.rooms.attendance import Attendance
from serve_app.rooms.request import MAX_BODY_BYTES, TokenRequest, read_request
from serve_app.rooms.roll import Join
from serve_app.rooms.server import LiveKitServer, with_scheme
from serve_app.rooms.worker import Worker
from serve_app.transports.livekit_joining import AlreadyAttended, RoomLost, Ticket

log = logging.getLogger("antiphon.rooms")

AHEAD_S = 1.0
"""A ticket is kept back for at most this long, so that the agent is in the room before its caller."""


class TokenDoor:
    """Takes the room into this replica, or finds it another one."""

    def __init__(
        self,
        replica: str,
        server: LiveKitServer,
        worker: Worker,
        agents: RoomAgents,
        attendance: Attendance,
        options: LiveKitOptions,
    ) -> None:
        self._replica = replica
        self._server = server
        self._worker = worker
        self._agents = agents
        self._attendance = attendance
        self._options = options

    async def answer(self, request: Request) -> Response:
        """201 with `server_url` and `participant_token`, or an error that says what to do."""
        if not self._may_ask(request):
            return error_answer(401, "unauthorized", "this endpoint wants its API key: Authorization: Bearer KEY")
        try:
            asked = read_request(await _body(request), self._options.agent_name)
            token = self._server.caller_token(asked)
        except BadRequest as wrong:
            return error_answer(400, wrong.code, str(wrong), wrong.field)
        if not self._worker.connected:
            return error_answer(503, "livekit_unavailable", self._worker.trouble)
        try:
            if not await self._attended(asked):
                return error_answer(503, "at_capacity", "all agents are in calls: try again later")
        except RoomLost as lost:
            return error_answer(503, "livekit_unavailable", str(lost))
        url = self._options.public_url or with_scheme(self._server.url, "ws")
        return JSONResponse({"server_url": url, "participant_token": token}, 201)

    def _may_ask(self, request: Request) -> bool:
        key = self._options.token_api_key
        return key is None or bears(request, key)

    async def _attended(self, asked: TokenRequest) -> bool:
        """There is an agent in the room, or on its way. Raises RoomLost."""
        room = asked.room_name
        if room in self._agents.stays:
            return True
        reserved = self._agents.reserve(room, asked.agent_metadata)
        if reserved is None:
            return await self._attendance.place(Join(room, asked.agent_metadata))
        if await self._is_ours(reserved):
            await self._join(reserved, self._server.agent_token(room, reserved.badge, asked))
        return True

    async def _is_ours(self, reserved: Reserved) -> bool:
        """The place is taken before the room is claimed: a claim that nobody uses would keep others away."""
        ours = False
        try:
            ours = await self._attendance.claim(reserved.stay.room, self._replica)
        finally:
            if not ours:
                self._agents.cancel(reserved)
        return ours

    async def _join(self, reserved: Reserved, token: str) -> None:
        """Go there, and wait a little for having come. Raises RoomLost."""
        joined = self._agents.begin(reserved, Ticket(self._server.url, token))
        await asyncio.wait([joined], timeout=AHEAD_S)
        if joined.done() and not isinstance(joined.exception(), AlreadyAttended):
            joined.result()


async def _body(request: Request) -> bytes:
    """Raises BadRequest for one that is too long, before all of it was read."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise BadRequest(f"The request has more than {MAX_BODY_BYTES} bytes.", code="too_long")
    return body
