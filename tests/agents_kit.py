"""One ingress replica's rooms without Ray: real agents, calls of synthetic models, and a real LiveKit server."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

import httpx
import ray.serve.context
from fastapi import FastAPI
from livekit import api, rtc
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve._private.config import DeploymentConfig
from ray.serve.schema import ReplicaRank

from deployments.errors import ModelFailed
from deployments.options import LogOptions
from deployments.vad.energy import EnergyVad
from deployments.vad.options import VadOptions
from loadtest.room_ticket import Keys, fresh
from serve_app.call_options import CallOptions
from serve_app.conversation.vad_batch import BatchedVoiceActivity
from serve_app.host import CallHost
from serve_app.options import IngressOptions, LiveKitOptions
from serve_app.readiness import Readiness
from serve_app.remotes import Remote
from serve_app.rooms.desk import RoomDesk
from serve_app.rooms.keeper import RoomKeeper
from serve_app.sessions import Sessions
from serve_app.settings import Settings
from serve_app.transports.livekit_speaker import Speaker
from tests.directory_kit import directory_of

PATIENCE_S = 20.0
"""A test that waits longer for something has failed."""


def options(keys: Keys, **changed: Any) -> LiveKitOptions:
    """Of this server, for an agent that no other test calls."""
    chosen = {"agent_name": fresh("agent"), "return_s": 0.5, "sweep_s": 0.2, **changed}
    return LiveKitOptions(url=keys.url, api_key=keys.api_key, api_secret=keys.api_secret, **chosen)


@contextmanager
def within_replica(name: str) -> Iterator[None]:
    """What Serve tells the code of a replica about itself."""
    ray.serve.context._set_internal_replica_context(
        replica_id=ReplicaID(name, DeploymentID("ingress", "test")),
        servable_object=print,
        _deployment_config=DeploymentConfig(),
        rank=ReplicaRank(rank=0, node_rank=0, local_rank=0),
        world_size=1,
    )
    try:
        yield
    finally:
        ray.serve.context._INTERNAL_REPLICA_CONTEXT = None  # type: ignore[assignment]


class Near(Remote):
    """A deployment in this process, reached as one behind a handle is; dead, while it has no replica."""

    def __init__(self, replica: Any = None) -> None:
        self.name = "near"
        self.replica = replica
        self._died = asyncio.Event()

    def die(self) -> None:
        """As if the replica's process was killed: whoever reads from it hears of that."""
        self.replica = None
        self._died.set()
        self._died = asyncio.Event()

    async def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self._alive(), method)(*args, **kwargs)

    async def stream(self, method: str, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        items = getattr(self._alive(), method)(*args, **kwargs)
        died = asyncio.create_task(self._died.wait())
        item: asyncio.Task[Any] | None = None
        try:
            while True:
                item = asyncio.create_task(anext(items))
                await asyncio.wait({item, died}, return_when=asyncio.FIRST_COMPLETED)
                if died.done():
                    raise ModelFailed("a replica of near died")
                yield item.result()
        finally:
            for task in (died, item):
                if task is not None:
                    await ended(task)
            await items.aclose()

    def _alive(self) -> Any:
        if self.replica is None:
            raise ModelFailed("a replica of near died")
        return self.replica


async def ended(task: "asyncio.Task[Any]") -> None:
    """Cancelled, and over."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class Keeper(RoomKeeper):
    """Ended by the test, not by whoever collects the garbage."""

    def __del__(self) -> None:  # type: ignore[override]
        pass


@asynccontextmanager
async def keeping(options: LiveKitOptions) -> AsyncIterator[Keeper]:
    logger = logging.getLogger("antiphon")
    logs = logger.handlers, logger.level, logger.propagate  # the keeper configures its process
    keeper = Keeper.__new__(Keeper)
    await RoomKeeper.__init__(keeper, options, LogOptions())
    logger.handlers, logger.level, logger.propagate = logs
    try:
        yield keeper
    finally:
        await RoomKeeper.__del__(keeper)
        assert keeper._sweeping.cancelled()


def new_host(max_calls: int = 4, call: CallOptions | None = None) -> CallHost:
    """For calls of synthetic models."""
    call = call or CallOptions(prefill=False)
    vad = BatchedVoiceActivity(EnergyVad(VadOptions(engine="energy", model=None)))
    directory = directory_of()
    return CallHost(directory, vad, Readiness({}, directory, call), call, IngressOptions(max_calls=max_calls))


@dataclass
class Replica:
    """An ingress replica, as far as rooms are concerned."""

    name: str
    options: LiveKitOptions
    host: CallHost
    desk: RoomDesk

    def __post_init__(self) -> None:
        self.agents = self.desk._agents
        self.worker = self.desk._worker
        self.server = self.desk._server
        self.attendance = self.desk._attendance

    @property
    def taken(self) -> int:
        return len(self.host.calls)

    @property
    def client(self) -> httpx.AsyncClient:
        """Of its HTTP side."""
        routes = FastAPI()
        routes.add_api_route("/api/livekit/token", self.desk.token, methods=["POST"])
        return httpx.AsyncClient(transport=httpx.ASGITransport(routes), base_url="http://replica")


@asynccontextmanager
async def replica(
    options: LiveKitOptions,
    keeper: Remote | None = None,
    *,
    name: str = "one",
    max_calls: int = 4,
    registered: bool = True,
    call: CallOptions | None = None,
    sessions: Sessions | None = None,
) -> AsyncIterator[Replica]:
    """`registered`: it is at the LiveKit server, before anything else happens."""
    host = new_host(max_calls, call)
    settings = Settings.model_construct(livekit=options, call=call or CallOptions(prefill=False))
    with within_replica(name):
        desk = RoomDesk(settings, host, host._readiness, keeper or Near(), sessions)
    made = Replica(name, options, host, desk)
    before = asyncio.all_tasks()
    desk.start()
    try:
        await until(lambda: made.worker.connected or not registered, "a registered worker")
        yield made
    finally:
        await desk.close()
    assert not made.host.calls, "a place was never given back"

    def left() -> set[str]:
        return {f"{task}" for task in asyncio.all_tasks() - before}

    await until(lambda: not left(), "an end of all tasks")


async def until(true: Callable[[], bool | Awaitable[bool]], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait for it; looked at fifty times a second."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        held = true()
        if await held if isawaitable(held) else held:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"there was never {what} in {patience_s:g} s")


@asynccontextmanager
async def person(keys: Keys, room: str) -> AsyncIterator[rtc.Room]:
    """Somebody in a room, who listens to nothing."""
    ticket, there = keys.ticket(room), rtc.Room()
    await there.connect(ticket.url, ticket.token, rtc.RoomOptions(auto_subscribe=False, single_peer_connection=False))
    try:
        yield there
    finally:
        await there.disconnect()


@asynccontextmanager
async def caller(keys: Keys, room: str) -> AsyncIterator[rtc.Room]:
    """The same; with them the room ends: the server is slow to notice that somebody left who came just now."""
    try:
        async with person(keys, room) as there:
            yield there
    finally:
        await delete(keys, room)


@asynccontextmanager
async def sounding(room: rtc.Room) -> AsyncIterator[None]:
    """Whoever is in this room has a track, and leaves at the end: the server announces those who have none late."""
    speaker = Speaker()
    await room.local_participant.publish_track(speaker.track)
    try:
        yield
    finally:
        await room.disconnect()
        await speaker.close()


async def delete(keys: Keys, room: str) -> None:
    async with livekit_api(keys) as service:
        try:
            await service.room.delete_room(api.DeleteRoomRequest(room=room))
        except api.ServerError as gone:
            if gone.code != api.ServerErrorCode.NOT_FOUND:
                raise


def agents_of(room: rtc.Room) -> list[rtc.RemoteParticipant]:
    """The agents that somebody in a room sees."""
    kind = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
    return [person for person in room.remote_participants.values() if person.kind == kind]


async def met(room: rtc.Room) -> rtc.RemoteParticipant:
    """The agent, once it listens to whoever is in this room."""

    def listening() -> bool:
        return [agent.attributes.get("lk.agent.state") for agent in agents_of(room)] == ["listening"]

    await until(listening, "an agent that listens")
    return agents_of(room)[0]


@asynccontextmanager
async def livekit_api(keys: Keys) -> AsyncIterator[api.LiveKitAPI]:
    url = keys.url.replace("ws", "http", 1)
    async with api.LiveKitAPI(url, keys.api_key, keys.api_secret, failover=False) as service:
        yield service


async def dispatch(keys: Keys, room: str, agent_name: str, metadata: str = "") -> str:
    """Call the agent into a room; the dispatch's id."""
    async with livekit_api(keys) as service:
        asked = api.CreateAgentDispatchRequest(agent_name=agent_name, room=room, metadata=metadata)
        return (await service.agent_dispatch.create_dispatch(asked)).id
