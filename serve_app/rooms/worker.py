"""An ingress replica as a LiveKit agent worker: the agent dispatch protocol, protobuf messages on one WebSocket."""

import asyncio
import logging
from collections.abc import Callable

from google.protobuf.message import DecodeError
from livekit.protocol import agent as pb
from livekit.protocol.models import ParticipantPermission
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from serve_app.rooms.agents import Reserved, RoomAgents
from serve_app.rooms.server import LiveKitServer
from serve_app.transports.livekit_joining import RoomLost, Ticket

log = logging.getLogger("antiphon.rooms")

FULL_LOAD = 0.65
"""What a worker with all places taken reports: LiveKit gives nothing to one that reports .7, and chooses among the
others at random, weighted by what they have left."""
PING_S = 5.0
"""The server's side has no deadline for pings; ours finds out about a dead link."""
REGISTER_S = 10.0
ASSIGN_S = 15.0
"""A job that was accepted is assigned at once; a place is not kept longer for it."""
RETRY_S = 0.1, 2.0


class Worker:
    """Registers, takes jobs while there is room, and comes back when the server does."""

    def __init__(
        self, server: LiveKitServer, agents: RoomAgents, agent_name: str, places: Callable[[], tuple[int, int]]
    ) -> None:
        """`places` tells how many are taken, and how many there are in all: 0 while the replica drains."""
        self.connected = False
        self.trouble = "not connected yet"
        """Why it is not connected, for people."""
        self._server = server
        self._agents = agents
        self._agent_name = agent_name
        self._places = places
        self._socket: ClientConnection | None = None
        self._accepted: dict[str, tuple[Reserved, asyncio.TimerHandle]] = {}
        self._followed: dict[str, Reserved] = {}
        self._changed = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        self._wait_s = RETRY_S[0]

    def changed(self) -> None:
        """The number of calls is different now."""
        self._changed.set()

    async def run(self) -> None:
        """For ever."""
        try:
            while True:
                try:
                    await self._serve()
                except InvalidStatus as refused:
                    status = refused.response.status_code
                    key = " (is LIVEKIT_API_SECRET right?)" if status == 401 else ""
                    self._lost(f"the LiveKit server refuses us: HTTP {status}{key}")
                except (WebSocketException, OSError, TimeoutError, DecodeError) as lost:
                    self._lost(f"no LiveKit server at {self._server.url}: {lost or type(lost).__name__}")
                await asyncio.sleep(self._wait_s)
                self._wait_s = min(2 * self._wait_s, RETRY_S[1])
        finally:
            for task in list(self._jobs):
                task.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    def _lost(self, why: str) -> None:
        if self.connected or why != self.trouble:
            log.warning("%s", why)
        self.connected, self.trouble, self._socket = False, why, None

    async def _serve(self) -> None:
        """One connection, until it ends."""
        headers = {"Authorization": f"Bearer {self._server.worker_token()}"}
        async with connect(
            f"{self._server.url}/agent",
            additional_headers=headers,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            open_timeout=REGISTER_S,
            proxy=None,
        ) as socket:
            await self._register(socket)
            self._socket, self.connected, self._wait_s = socket, True, RETRY_S[0]
            log.info("registered at %s as %r", self._server.url, self._agent_name)
            reporting = asyncio.create_task(self._report_for_ever(socket))
            try:
                async for data in socket:
                    await self._receive(_bytes(data))
            finally:
                self._lost("the LiveKit server closed the connection")
                for job_id in list(self._accepted):  # an assignment comes on the connection of its offer, or never
                    self._give_up(job_id)
                reporting.cancel()
                await asyncio.gather(reporting, return_exceptions=True)

    async def _register(self, socket: ClientConnection) -> None:
        allowed = ParticipantPermission(
            can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=True, agent=True
        )
        asked = pb.RegisterWorkerRequest(
            type=pb.JobType.JT_ROOM, agent_name=self._agent_name, version="1", allowed_permissions=allowed
        )
        await self._send(socket, pb.WorkerMessage(register=asked))
        async with asyncio.timeout(REGISTER_S):
            pb.ServerMessage.FromString(_bytes(await socket.recv()))

    async def _report_for_ever(self, socket: ClientConnection) -> None:
        """How full we are: now, and whenever it changes."""
        while True:
            taken, places = self._places()
            full = taken >= places
            status = pb.UpdateWorkerStatus(
                status=pb.WorkerStatus.WS_FULL if full else pb.WorkerStatus.WS_AVAILABLE,
                load=1.0 if full else FULL_LOAD * taken / places,
                job_count=taken,
            )
            await self._send(socket, pb.WorkerMessage(update_worker=status))
            await self._changed.wait()
            self._changed.clear()

    # --- jobs

    async def _receive(self, data: bytes) -> None:
        try:
            message = pb.ServerMessage.FromString(data)
        except DecodeError:
            log.warning("the LiveKit server sent %d bytes that mean nothing", len(data))
            return
        match message.WhichOneof("message"):
            case "availability":
                await self._offered(message.availability.job)
            case "assignment":
                self._assigned(message.assignment)
            case "termination":
                self._terminated(message.termination.job_id)

    async def _offered(self, job: pb.Job) -> None:
        """The place is taken with the answer: an assignment follows at once."""
        caller = job.participant.identity or None
        reserved = self._agents.reserve(job.room.name, job.metadata, caller)
        answer = pb.AvailabilityResponse(job_id=job.id, available=reserved is not None)
        if reserved is not None:
            answer.participant_identity = reserved.badge.identity
            answer.participant_attributes.update(reserved.badge.attributes)
            timer = asyncio.get_running_loop().call_later(ASSIGN_S, self._give_up, job.id)
            self._accepted[job.id] = reserved, timer
        else:
            log.info("no place for room %s", job.room.name)
        assert self._socket is not None
        await self._send(self._socket, pb.WorkerMessage(availability=answer))

    def _give_up(self, job_id: str) -> None:
        reserved, timer = self._accepted.pop(job_id)
        timer.cancel()
        log.warning("room %s was never assigned", reserved.stay.room)
        self._agents.cancel(reserved)

    def _assigned(self, assignment: pb.JobAssignment) -> None:
        job = assignment.job
        if job.id not in self._accepted:
            return  # we gave it up
        reserved, timer = self._accepted.pop(job.id)
        timer.cancel()
        ticket = Ticket(self._server.url, assignment.token, reserved.stay.caller, room_sid=job.room.sid)
        joined = self._agents.begin(reserved, ticket)
        self._followed[job.id] = reserved
        task = asyncio.create_task(self._follow(job.id, reserved, joined))
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _follow(self, job_id: str, reserved: Reserved, joined: "asyncio.Future[None]") -> None:
        """Tell LiveKit how the job goes. The stay itself does not depend on this connection."""
        try:
            await asyncio.shield(joined)
            await self._update(job_id, pb.JobStatus.JS_RUNNING)
            await reserved.hosted.over.wait()
            await self._update(job_id, pb.JobStatus.JS_SUCCESS)
        except RoomLost as lost:
            await self._update(job_id, pb.JobStatus.JS_FAILED, str(lost))
        finally:
            del self._followed[job_id]

    async def _update(self, job_id: str, status: int, error: str = "") -> None:
        if self._socket is not None:
            update = pb.UpdateJobStatus(job_id=job_id, status=status, error=error)  # type: ignore[arg-type]
            try:
                await self._send(self._socket, pb.WorkerMessage(update_job=update))
            except (WebSocketException, OSError):
                log.debug("the server was not told about job %s", job_id)

    def _terminated(self, job_id: str) -> None:
        """Somebody deleted the dispatch or the room. An agent still on its way would make the room anew."""
        log.info("job %s was terminated", job_id)
        if job_id in self._accepted:
            self._give_up(job_id)
        elif (reserved := self._followed.get(job_id)) is not None:
            self._agents.dismiss(reserved)

    @staticmethod
    async def _send(socket: ClientConnection, message: pb.WorkerMessage) -> None:
        await socket.send(message.SerializeToString())


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data
