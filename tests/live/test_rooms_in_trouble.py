"""Rooms when something is full, dies, restarts or is cut off: two hosts of two calls each, on a real LiveKit server."""

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from deployments.llm.synthetic_answers import counted
from loadtest.room_caller import RoomCaller
from loadtest.room_ticket import Keys, request_ticket
from loadtest.wire import Busy, CallFailed
from serve_app.call_options import CallOptions
from serve_app.livekit_server.binary import obtain
from serve_app.livekit_server.local import LocalLiveKit
from tests.live.network_kit import FarAway, far_away
from tests.live.rooms_kit import (
    PATIENCE_S,
    a_room,
    agents_in,
    health,
    in_room,
    nobody_is_left,
    ticket_of,
    type_to,
    until,
    with_ticket,
)
from tests.system import ROOT, System, running

pytestmark = pytest.mark.timeout(300)

HOSTS, CALLS_EACH = 2, 2
SPACING_S = 0.25  # a LiveKit server stalls when many join at once
WRITTEN_S = 0.5
"""No call waits until its conversation is kept; an answer of which that is not known yet would be given again."""


@pytest.fixture(scope="module")
def place() -> Iterator[FarAway | None]:
    with far_away() as place:
        yield place


@pytest.fixture(scope="module")
def server(livekit_keys: Keys, place: FarAway | None) -> Iterator[LocalLiveKit]:
    """One that may be killed, and that is reached from everywhere: it looks for networks when it starts."""
    with tempfile.TemporaryDirectory() as folder:
        server = LocalLiveKit(Path(folder) / "livekit.log", host="0.0.0.0")
        server.start(obtain(print, threading.Event()))
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def small(server: LocalLiveKit) -> Iterator[System]:
    """A system with few places."""
    keys = Keys(server.url, server.api_key, server.api_secret)
    variables = {"ANTIPHON_INGRESS__REPLICAS": str(HOSTS), "ANTIPHON_INGRESS__MAX_CALLS": str(CALLS_EACH)}
    with tempfile.TemporaryDirectory() as folder, running("configs/demo.yaml", Path(folder), keys, **variables) as it:
        yield it


@asynccontextmanager
async def all_places_taken(system: System) -> AsyncIterator[list[RoomCaller]]:
    async with AsyncExitStack() as stack:
        callers = []
        for _ in range(HOSTS * CALLS_EACH):
            callers.append(await stack.enter_async_context(with_ticket(await ticket_of(system))))
            await asyncio.sleep(SPACING_S)
        yield callers


async def test_who_came_while_all_were_full_gets_the_agent_once_there_is_room(
    small: System, server: LocalLiveKit
) -> None:
    async with all_places_taken(small) as callers:
        with pytest.raises(Busy, match="all agents are in calls"):
            await request_ticket(small.url)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(_one_turn(small, "here at last"))

            async def was_refused() -> bool:
                return "not dispatching agent job since no worker is available" in server.log.read_text()

            await until(was_refused, "a job that met only full workers")
            await _all_answered(callers, "still here")
            assert not waiting.done()
            await callers[0].line.leave()
        assert waiting.result() == "You said: here at last."
        await _all_answered(callers[1:], "me too")
    await nobody_is_left(small)


async def _all_answered(callers: Sequence[RoomCaller], text: str) -> None:
    """A machine that stands still for seconds makes the agent say first that it takes a moment."""
    answers = await asyncio.gather(*(type_to(caller, text) for caller in callers))
    texts = [answer.text.removeprefix(CallOptions().filler).strip() for answer in answers]
    assert texts == [f"You said: {text}."] * len(callers)


async def _one_turn(system: System, text: str) -> str:
    async with in_room(system) as caller:
        return (await type_to(caller, text)).text


async def test_a_conversation_goes_on_where_a_killed_host_left_it(small: System, record_property: Any) -> None:
    """The answer that it died in is given again, and what was said before is known."""
    assert "conversations are kept in memory, by a server of our own" in small.said()
    room = a_room()
    async with with_ticket(await ticket_of(small, room=room), replacement_s=PATIENCE_S) as caller:
        assert (await type_to(caller, "hello")).text == "You said: hello."
        await caller.type("count to ten")
        await caller.first_sound(PATIENCE_S)
        first, track = caller.call_id, caller.line.track
        assert first is not None
        os.kill(host_of(small, first), signal.SIGKILL)
        killed_s = time.monotonic()
        caller.exchange.begin(caller.now())
        await asyncio.wait_for(
            caller.until(lambda: caller.call_id not in (None, first) and caller.line.track is not track), PATIENCE_S
        )
        record_property("replaced_after_ms", round((time.monotonic() - killed_s) * 1000))
        await caller.first_sound(PATIENCE_S)
        record_property("answered_after_ms", round((time.monotonic() - killed_s) * 1000))
        assert (await caller.answer(PATIENCE_S)).text == counted(10)
        assert (await type_to(caller, "what did I say first")).text == "First you said: hello."

        async def alone() -> bool:
            return len(await agents_in(small, room)) == 1

        await until(alone, "the dead agent's end")
    await nobody_is_left(small)


def host_of(system: System, call: str) -> int:
    """The process that hosts this call, by what it logged."""
    found = re.search(rf"ingress pid=(\d+)\).*{call}", log_of(system))
    assert found is not None, f"nobody logged {call}"
    return int(found.group(1))


def log_of(system: System) -> str:
    return (system.output.parent / "log").read_text(encoding="utf-8", errors="replace")


async def test_a_client_whose_host_is_killed_comes_back_to_its_session(small: System) -> None:
    before = log_of(small).count("turn 1 answered")
    async with connect(address(small)) as socket:
        session = (await heard(socket, "session.created"))["session"]["id"]
        assert await asks(socket, "hello") == "You said: hello."

        async def logged() -> bool:
            return log_of(small).count("turn 1 answered") > before

        await until(logged, "a turn that is logged")
        await asyncio.sleep(WRITTEN_S)
        host = re.findall(r"ingress pid=(\d+)\).*turn 1 answered", log_of(small))[-1]
        os.kill(int(host), signal.SIGKILL)
        with pytest.raises(ConnectionClosed):
            await heard(socket, "nothing")
    socket, created = await back(small, session)
    async with socket:
        assert created["session"]["id"] == session
        assert await asks(socket, "what did I say first") == "First you said: hello."
        await order(socket, "count to 200", ["audio"])
        await heard(socket, "response.output_audio.delta")
    await nobody_is_left(small)  # at the host that answers; there are two
    await asyncio.sleep(2 * WRITTEN_S)
    socket, created = await back(small, session)  # it was closed as one does, and is no more
    async with socket:
        assert created["session"]["id"] != session
        assert (await heard(socket, "error"))["error"]["code"] == "unknown_session"


def address(system: System, query: str = "") -> str:
    return f"{system.url.replace('http', 'ws')}/v1/realtime{query}"


async def back(system: System, session: str) -> tuple[ClientConnection, dict[str, Any]]:
    """As soon as somebody answers."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket = await connect(address(system, f"?session={session}"))
            return socket, await heard(socket, "session.created")
        except (ConnectionClosed, InvalidHandshake, OSError):
            assert time.monotonic() < deadline, "nobody answered"
            await asyncio.sleep(0.2)


async def heard(socket: ClientConnection, kind: str) -> dict[str, Any]:
    """The next event of this type."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            event: dict[str, Any] = json.loads(await socket.recv())
            if event["type"] == kind:
                return event


async def order(socket: ClientConnection, text: str, modalities: list[str]) -> None:
    item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    await socket.send(json.dumps({"type": "conversation.item.create", "item": item}))
    await socket.send(json.dumps({"type": "response.create", "response": {"output_modalities": modalities}}))


async def asks(socket: ClientConnection, text: str) -> str:
    await order(socket, text, ["text"])
    return str((await heard(socket, "response.output_text.done"))["text"])


async def test_calls_survive_a_restart_of_the_livekit_server(small: System, server: LocalLiveKit) -> None:
    await all_hosts_are_back(small)
    async with AsyncExitStack() as stack:
        callers: list[RoomCaller] = []
        for number in range(3):
            callers.append(await stack.enter_async_context(in_room(small, replacement_s=PATIENCE_S)))
            assert (await type_to(callers[-1], f"number {number}")).status == "completed"
            await asyncio.sleep(SPACING_S)
        server.kill()
        await asyncio.sleep(1)
        server.start(obtain(print, threading.Event()))
        back_s = time.monotonic()
        assert all(await asyncio.gather(*map(_answers_again, callers))), "a call neither went on nor ended"
        print(f"back {time.monotonic() - back_s:.1f} s after the server")
        assert await _one_turn(small, "and a new one") == "You said: and a new one."
    await nobody_is_left(small)
    assert (await health(small))["calls"] == 0


async def _answers_again(caller: RoomCaller) -> bool:
    """The call goes on, or has ended cleanly."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            await caller.type("are you there")
            if (await caller.answer(5.0)).text == "You said: are you there.":
                return True
        except CallFailed:
            if caller.line.lost.done():
                return True
        except TimeoutError:
            pass
        await asyncio.sleep(0.5)
    return False


async def all_hosts_are_back(system: System) -> None:
    """Ray has replaced a dead host."""
    async with AsyncExitStack() as stack:
        for _ in range(HOSTS * CALLS_EACH):

            async def joined() -> bool:
                try:
                    ticket = await ticket_of(system)
                except CallFailed:
                    return False
                await stack.enter_async_context(with_ticket(ticket))
                return True

            await until(joined, "a free place")
            await asyncio.sleep(SPACING_S)
    await nobody_is_left(system)


async def test_a_caller_whose_network_is_cut_for_ten_seconds_goes_on(
    small: System, server: LocalLiveKit, place: FarAway | None
) -> None:
    if place is None:
        pytest.skip("nobody may make networks here")
    async with far_caller(place, server) as caller:
        began = await caller.hears()
        assert (await caller.asks("before"))["text"] == "You said: before."
        place.cut()
        await asyncio.sleep(10)
        place.mend()
        mended_s = time.monotonic()
        answer = await caller.asks("after")
        print(f"answered {time.monotonic() - mended_s:.1f} s after the network was back")
        assert answer["text"] == "You said: after."
        assert answer["call_id"] == began["call_id"]
    await nobody_is_left(small)


class FarCaller:
    """The other end of `far_caller`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def asks(self, text: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        return await self.hears()

    async def hears(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_S)
        assert line, "the far caller's process ended; the lines above say why"
        said: dict[str, Any] = json.loads(line)
        return said


@asynccontextmanager
async def far_caller(place: FarAway, server: LocalLiveKit) -> AsyncIterator[FarCaller]:
    """A caller there, in a room that calls the agent."""
    keys = Keys(f"ws://{place.address}:{server.port}", server.api_key, server.api_secret)
    ticket = keys.dispatching(a_room(), {})
    pipe = asyncio.subprocess.PIPE
    words = place.command(sys.executable, "-m", "tests.live.far_caller", ticket.url, ticket.token)
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, cwd=ROOT)
    try:
        yield FarCaller(process)
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), PATIENCE_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
