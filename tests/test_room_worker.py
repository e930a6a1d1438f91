import asyncio
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit.protocol import agent as pb
from livekit.protocol.models import Room
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from loadtest.room_ticket import Keys, fresh
from serve_app.livekit_server.binary import obtain
from serve_app.livekit_server.local import LocalLiveKit
from serve_app.rooms import worker
from serve_app.rooms.worker import FULL_LOAD
from serve_app.transports.livekit_joining import Ticket
from tests.agents_kit import Replica, agents_of, caller, delete, dispatch, livekit_api, met, options, replica, until

pytestmark = pytest.mark.timeout(90)


# --- against the real server


async def test_a_dispatch_brings_the_agent(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys)) as one:
        room = fresh("room")
        async with caller(livekit_keys, room) as there:
            await dispatch(livekit_keys, room, one.options.agent_name)
            agent = await met(there)
            assert agent.attributes["antiphon.agent"] == one.options.agent_name
            assert agent.attributes["antiphon.call_id"] in one.host.calls
            assert agent.identity.startswith("antiphon-")
        await until(lambda: not one.taken, "the call's end")


async def test_a_room_that_asks_twice_gets_one_agent(livekit_keys: Keys) -> None:
    chosen = options(livekit_keys)
    async with replica(chosen) as one, replica(chosen, name="two") as two:
        room = fresh("room")
        async with caller(livekit_keys, room) as there:
            for _ in range(3):
                await dispatch(livekit_keys, room, chosen.agent_name)
            await met(there)
            await until(lambda: one.taken + two.taken == 1, "one agent and no more")
            assert len(agents_of(there)) == 1


async def test_of_two_agents_that_come_at_once_one_stays(livekit_keys: Keys) -> None:
    chosen = options(livekit_keys)
    async with replica(chosen) as one, replica(chosen, name="two") as two:
        for _ in range(4):
            room = fresh("room")
            async with caller(livekit_keys, room) as there:
                outcomes = await asyncio.gather(*(sent(who, room) for who in (one, two)), return_exceptions=True)
                assert sorted(str(outcome is None) for outcome in outcomes) == ["False", "True"], outcomes
                await met(there)
                assert one.taken + two.taken == 1
            await until(lambda: not one.taken and not two.taken, "the calls' end")


async def sent(who: Replica, room: str) -> None:
    """An agent of this replica goes to the room, without asking anybody."""
    reserved = who.agents.reserve(room)
    assert reserved is not None
    ticket = Ticket(who.server.url, who.server.agent_token(room, reserved.badge))
    await who.agents.begin(reserved, ticket)


async def test_full_workers_get_nothing_and_the_others_all(livekit_keys: Keys) -> None:
    chosen = options(livekit_keys)
    async with replica(chosen, max_calls=1) as one, replica(chosen, name="two", max_calls=1) as two:
        first, second, third = (fresh("room") for _ in range(3))
        async with caller(livekit_keys, first) as a, caller(livekit_keys, second) as b:
            await dispatch(livekit_keys, first, chosen.agent_name)
            await met(a)
            await dispatch(livekit_keys, second, chosen.agent_name)
            await met(b)
            assert (one.taken, two.taken) == (1, 1)
            async with caller(livekit_keys, third) as c:
                await dispatch(livekit_keys, third, chosen.agent_name)
                one.host.draining = True
                await a.disconnect()
                await delete(livekit_keys, first)
                await until(lambda: not (one.taken and two.taken), "a free place")
                assert not agents_of(c)  # the job was dropped for good: this is what the keeper is for


async def test_a_deleted_dispatch_ends_the_stay(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys)) as one:
        room = fresh("room")
        async with caller(livekit_keys, room) as there:
            job = await dispatch(livekit_keys, room, one.options.agent_name)
            await met(there)
            async with livekit_api(livekit_keys) as service:
                await service.agent_dispatch.delete_dispatch(job, room)
            await until(lambda: not agents_of(there) and not one.taken, "an agent that leaves")


async def test_a_deleted_room_ends_the_stay(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys)) as one:
        room = fresh("room")
        async with caller(livekit_keys, room) as there:
            await dispatch(livekit_keys, room, one.options.agent_name)
            await met(there)
            await delete(livekit_keys, room)
        await until(lambda: not one.taken, "the call's end")


async def test_an_agent_without_a_name_comes_to_every_room_once(livekit_keys: Keys) -> None:
    chosen = options(livekit_keys, agent_name="")
    async with replica(chosen) as one, replica(chosen, name="two") as two, one.client as client:
        room = fresh("room")
        async with caller(livekit_keys, room) as there:
            await met(there)
        await until(lambda: not one.taken and not two.taken, "the call's end")
        # The token door sends an agent itself, and so does LiveKit when the room is made.
        answer = await client.post("/api/livekit/token", json={"room_name": (second := fresh("room"))})
        assert answer.status_code == 201
        async with caller(livekit_keys, second) as there:
            await met(there)
            await until(lambda: one.taken + two.taken == 1, "one agent and no more")
            assert len(agents_of(there)) == 1


async def test_a_wrong_secret_is_named(livekit_keys: Keys) -> None:
    forged = Keys(livekit_keys.url, livekit_keys.api_key, "f" * 43)
    async with replica(options(forged), registered=False) as one:
        await until(lambda: "401" in one.worker.trouble, "a refusal")
        assert "secret" in one.worker.trouble.lower()
        assert one.desk.state()["state"] == "connecting"


async def test_it_comes_back_when_the_server_does() -> None:
    program = obtain(print, threading.Event())
    with tempfile.TemporaryDirectory() as folder:
        server = LocalLiveKit(Path(folder) / "livekit.log")
        server.start(program)
        try:
            keys = Keys(server.url, server.api_key, server.api_secret)
            async with replica(options(keys)) as one:
                for _ in range(2):
                    server.kill()
                    await until(lambda: not one.worker.connected, "a lost connection")
                    assert keys.url in one.worker.trouble or "closed" in one.worker.trouble
                    server.start(program)
                    await until(lambda: one.worker.connected, "a new registration")
                room = fresh("room")
                async with caller(keys, room) as there:
                    await dispatch(keys, room, one.options.agent_name)
                    await met(there)
        finally:
            server.kill()


# --- against a server that says what the test wants


class Script:
    """The server's end of the worker protocol: what workers said, and a line to the one that came last."""

    def __init__(self) -> None:
        self.said: list[pb.WorkerMessage] = []
        self.line: ServerConnection | None = None
        self.lines = 0

    async def serve(self, line: ServerConnection) -> None:
        assert line.request is not None
        if not line.request.path.startswith("/agent"):
            return  # rooms are nowhere
        self.said.append(pb.WorkerMessage.FromString(await self._bytes(line)))
        await line.send(pb.ServerMessage(register=pb.RegisterWorkerResponse(worker_id="W")).SerializeToString())
        self.line, self.lines = line, self.lines + 1
        try:
            while True:
                self.said.append(pb.WorkerMessage.FromString(await self._bytes(line)))
        except ConnectionClosed:
            pass

    @staticmethod
    async def _bytes(line: ServerConnection) -> bytes:
        data = await line.recv()
        assert isinstance(data, bytes)
        return data

    async def send(self, message: pb.ServerMessage | bytes) -> None:
        assert self.line is not None
        await self.line.send(message if isinstance(message, bytes) else message.SerializeToString())

    async def offer(self, job: str, room: str) -> pb.AvailabilityResponse:
        """The worker's answer."""
        offered = pb.AvailabilityRequest(job=pb.Job(id=job, type=pb.JobType.JT_ROOM, room=Room(name=room)))
        before = len(self.answers)
        await self.send(pb.ServerMessage(availability=offered))
        await until(lambda: len(self.answers) > before, "an answer to the offer")
        return self.answers[-1]

    @property
    def answers(self) -> list[pb.AvailabilityResponse]:
        return [said.availability for said in self.said if said.WhichOneof("message") == "availability"]

    @property
    def loads(self) -> list[tuple[bool, float, int]]:
        """Full or not, load and number of calls, as they were reported."""
        told = [said.update_worker for said in self.said if said.WhichOneof("message") == "update_worker"]
        return [(one.status == pb.WorkerStatus.WS_FULL, round(one.load, 4), one.job_count) for one in told]


@asynccontextmanager
async def scripted(*, max_calls: int = 2) -> AsyncIterator[tuple[Script, Replica]]:
    script = Script()
    server: Server
    async with serve(script.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        keys = Keys(f"ws://127.0.0.1:{port}", "key", "s" * 43)
        async with replica(options(keys, connect_s=0.5), max_calls=max_calls) as one:
            yield script, one


async def test_it_registers_and_reports_its_load() -> None:
    async with scripted(max_calls=2) as (script, one):
        asked = script.said[0].register
        assert (asked.type, asked.agent_name) == (pb.JobType.JT_ROOM, one.options.agent_name)
        assert asked.allowed_permissions.agent
        await until(lambda: script.loads == [(False, 0.0, 0)], "a first report")
        answer = await script.offer("job", "room")
        assert answer.available
        assert answer.participant_identity == one.agents.stays["room"].identity
        await until(lambda: script.loads[-1] == (False, round(FULL_LOAD / 2, 4), 1), "half the load")
        assert (await script.offer("other", "elsewhere")).available
        await until(lambda: script.loads[-1] == (True, 1.0, 2), "a full worker")
        assert not (await script.offer("third", "nowhere")).available


async def test_who_drains_says_full() -> None:
    async with scripted() as (script, one):
        await until(lambda: script.loads == [(False, 0.0, 0)], "a first report")
        one.host.drain()
        await until(lambda: script.loads[-1] == (True, 1.0, 0), "a full worker")
        assert not (await script.offer("job", "room")).available


async def test_a_second_job_for_the_same_room_is_left_to_others() -> None:
    async with scripted() as (script, one):
        assert (await script.offer("job", "room")).available
        assert not (await script.offer("again", "room")).available
        assert one.taken == 1


async def test_a_job_that_is_never_assigned_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "ASSIGN_S", 0.1)
    async with scripted() as (script, one):
        assert (await script.offer("job", "room")).available
        await until(lambda: not one.taken and not one.agents.stays, "a free place")
        late = pb.JobAssignment(job=pb.Job(id="job", room=Room(name="room")), token="x")
        await script.send(pb.ServerMessage(assignment=late))
        assert (await script.offer("next", "room")).available  # it read the late assignment, and went nowhere
        assert one.taken == 1


async def test_a_line_that_breaks_before_the_assignment_gives_the_place_back_at_once() -> None:
    async with scripted() as (script, one):
        assert (await script.offer("job", "room")).available
        assert script.line is not None
        await script.line.close(1011)
        await until(lambda: not one.taken and not one.agents.stays, "a free place", worker.ASSIGN_S / 3)
        await until(lambda: script.lines == 2 and one.worker.connected, "a new registration")
        assert (await script.offer("job2", "room")).available


async def test_a_job_terminated_before_its_assignment_gives_the_place_back() -> None:
    async with scripted() as (script, one):
        assert (await script.offer("job", "room")).available
        await script.send(pb.ServerMessage(termination=pb.JobTermination(job_id="job")))
        await script.send(pb.ServerMessage(termination=pb.JobTermination(job_id="never heard of")))
        await until(lambda: not one.taken, "a free place")


async def test_a_job_terminated_with_its_assignment_gives_the_place_back() -> None:
    async with scripted() as (script, one):
        assert (await script.offer("job", "room")).available
        given = pb.JobAssignment(job=pb.Job(id="job", room=Room(name="room")), token="no token")
        await script.send(pb.ServerMessage(assignment=given))
        await script.send(pb.ServerMessage(termination=pb.JobTermination(job_id="job")))
        await until(lambda: not one.taken and not one.agents.stays, "a free place")


async def test_a_room_that_cannot_be_joined_is_a_failed_job() -> None:
    async with scripted() as (script, one):
        assert (await script.offer("job", "room")).available
        given = pb.JobAssignment(job=pb.Job(id="job", room=Room(name="room")), token="no token")
        await script.send(pb.ServerMessage(assignment=given))

        def failed() -> bool:
            told = [said.update_job for said in script.said if said.WhichOneof("message") == "update_job"]
            return [(one.job_id, one.status) for one in told] == [("job", pb.JobStatus.JS_FAILED)]

        await until(failed, "a failed job")
        assert not one.taken


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"", b"{}", pb.ServerMessage(pong={}).SerializeToString()])
async def test_what_means_nothing_is_passed_over(garbage: bytes) -> None:
    async with scripted() as (script, one):
        await script.send(garbage)
        assert (await script.offer("job", "room")).available
        assert script.lines == 1
        assert one.worker.connected


async def test_a_server_that_answers_a_registration_with_garbage_is_asked_again() -> None:
    asked = 0

    async def answer(line: ServerConnection) -> None:
        nonlocal asked
        await line.recv()
        asked += 1
        await line.send(b"\xff\xff\xff")
        await line.wait_closed()

    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        keys = Keys(f"ws://127.0.0.1:{port}", "key", "s" * 43)
        async with replica(options(keys), registered=False) as one:
            await until(lambda: asked >= 2, "a second attempt")
            assert not one.worker.connected
