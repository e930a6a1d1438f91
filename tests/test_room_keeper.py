import asyncio
import json
import logging
import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api

from loadtest.room_ticket import Keys, fresh
from serve_app.livekit_server.binary import obtain
from serve_app.livekit_server.local import LocalLiveKit
from serve_app.options import LiveKitOptions
from serve_app.rooms import keeper as keeper_module
from serve_app.rooms.keeper import ORDERS_LIMIT
from serve_app.rooms.roll import Ended, Join, Report, Stay
from serve_app.rooms.server import ServerGone
from tests.agents_kit import (
    Keeper,
    Near,
    Replica,
    agents_of,
    caller,
    delete,
    dispatch,
    keeping,
    livekit_api,
    met,
    options,
    person,
    replica,
    until,
)

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "FRESH_S", 0.0)
    monkeypatch.setattr(keeper_module, "RECHECK_S", 0.2)


@asynccontextmanager
async def cluster(chosen: LiveKitOptions, *, max_calls: int = 4) -> AsyncIterator[tuple[Keeper, Replica]]:
    """A keeper and one replica that attends."""
    async with keeping(chosen) as keeper, replica(chosen, Near(keeper), max_calls=max_calls) as one:
        await until(lambda: "one" in keeper._lines, "an open line")
        yield keeper, one


async def dispatched_in_vain(keys: Keys, room: str, agent_name: str, metadata: str = "") -> None:
    """LiveKit knows that the room wants the agent, and offered the job to nobody."""
    await dispatch(keys, room, agent_name, metadata)


async def sweeps(keeper: Keeper, rounds: int = 3) -> None:
    """The keeper has looked again, so often."""
    for _ in range(rounds):
        await keeper._sweep()


async def test_a_room_whose_dispatch_met_nobody_gets_an_agent_later(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with caller(livekit_keys, room) as there:
        await dispatched_in_vain(livekit_keys, room, chosen.agent_name, '{"instructions": "Sing."}')
        async with cluster(chosen) as (_, one):
            await met(there)
            assert one.agents.stays[room].metadata == '{"instructions": "Sing."}'
            assert len(agents_of(there)) == 1


async def test_rooms_that_want_nobody_or_somebody_else_are_left_alone(livekit_keys: Keys) -> None:
    chosen, plain, others = options(livekit_keys), fresh("room"), fresh("room")
    async with caller(livekit_keys, plain) as a, caller(livekit_keys, others) as b:
        await dispatched_in_vain(livekit_keys, others, "somebody-else")
        async with cluster(chosen) as (keeper, one):
            await sweeps(keeper)
            assert not one.taken
            assert not agents_of(a) + agents_of(b)
            assert {plain, others} <= set(keeper._unwanted)


async def test_where_the_agent_has_no_name_every_room_gets_it(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys, agent_name=""), fresh("room")
    async with caller(livekit_keys, room) as there, cluster(chosen):
        await met(there)


async def test_a_caller_who_calls_themselves_the_agent_is_none(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with caller(livekit_keys, room) as there:
        await there.local_participant.set_attributes({"antiphon.agent": chosen.agent_name, "antiphon.call_id": "x"})
        await dispatched_in_vain(livekit_keys, room, chosen.agent_name)
        async with cluster(chosen):
            await met(there)


async def test_a_full_cluster_takes_the_room_when_there_is_a_place(livekit_keys: Keys) -> None:
    chosen, first, second = options(livekit_keys), fresh("room"), fresh("room")
    async with cluster(chosen, max_calls=1) as (keeper, one), caller(livekit_keys, second) as waiting:
        async with caller(livekit_keys, first) as there:
            await dispatch(livekit_keys, first, chosen.agent_name)
            await met(there)
            await dispatched_in_vain(livekit_keys, second, chosen.agent_name)
            await until(lambda: second in keeper._roll.unattended, "a room that was looked at")
            assert not agents_of(waiting)
        await met(waiting)
        assert set(one.agents.stays) == {second}


async def test_a_dead_replica_s_room_goes_to_another_at_once(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with keeping(chosen) as keeper, replica(chosen, near := Near(keeper)) as one:
        await until(lambda: "one" in keeper._lines, "an open line")
        async with caller(livekit_keys, room) as there, replica(chosen, Near(keeper), name="two") as two:
            await until(lambda: "two" in keeper._lines, "the other line")
            two.host.draining = True
            two.attendance.changed()
            await until(lambda: keeper._roll._reports["two"].free == 0, "its report")
            await keeper.place(Join(room, '{"instructions": "Sing."}'))
            first = await met(there)
            two.host.draining = False
            two.attendance.changed()
            await until(lambda: keeper._roll._reports["two"].free > 0, "its report")
            one.host.draining = True  # or it would take its own room back when its line is open again
            near.die()
            await until(lambda: [agent.identity for agent in agents_of(there)] != [first.identity], "another agent")
            second = await met(there)
            assert two.agents.stays[room].identity == second.identity
            assert two.agents.stays[room].metadata == '{"instructions": "Sing."}'
            await until(lambda: room not in one.agents.stays, "the first one's end")


async def test_whoever_was_refused_gets_no_other_agent_and_whoever_comes_anew_does(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with cluster(chosen) as (keeper, one), caller(livekit_keys, room) as there:
        ends: list[Ended] = []
        one.agents.on_ended.append(ends.append)
        await there.local_participant.set_attributes({"antiphon.instructions": "x" * 60_000})
        await dispatch(livekit_keys, room, chosen.agent_name, json.dumps({"loopback": True}))
        await until(lambda: [ended.answered for ended in ends] == [there.local_participant.sid], "a refusal")
        await until(lambda: room in keeper._roll.unattended, "the news of it")
        await sweeps(keeper)
        assert not one.taken
        assert len(ends) == 1
        async with person(livekit_keys, room) as another:  # they look for themselves, not for the first one
            await until(lambda: len(ends) == 2, "an agent that refuses them too")
            assert ends[1].answered == another.local_participant.sid
            await until(lambda: len(keeper._roll.answered(room)) == 2, "the news of it")
            await sweeps(keeper)
            assert len(ends) == 2


async def test_a_claim_during_a_round_keeps_a_second_agent_away(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys, sweep_s=60), fresh("room")
    async with caller(livekit_keys, room), cluster(chosen) as (keeper, one):
        await dispatched_in_vain(livekit_keys, room, "nobody-yet")
        keeper._roll.ended(Ended(Stay(room, "call", "antiphon-x")))
        sweeping = asyncio.create_task(keeper._sweep())
        await asyncio.sleep(0)  # it waits for the server's answer
        assert await keeper.claim(room, "somebody")
        await sweeping
        assert not one.taken


async def test_an_empty_room_gets_nobody(livekit_keys: Keys) -> None:
    chosen, room = options(livekit_keys), fresh("room")
    async with livekit_api(livekit_keys) as service:
        await service.room.create_room(api.CreateRoomRequest(name=room))
    async with cluster(chosen) as (keeper, one):
        keeper._roll.ended(Ended(Stay(room, "call", "antiphon-x")))
        await sweeps(keeper)
        assert not one.taken
    await delete(livekit_keys, room)


async def test_a_room_that_closes_during_a_round_does_not_end_it(livekit_keys: Keys) -> None:
    """The server does not know its dispatches any more, and says that it cannot be reached."""
    chosen, gone, room = options(livekit_keys), fresh("room"), fresh("room")
    async with caller(livekit_keys, room) as there, cluster(chosen) as (keeper, _):
        await dispatched_in_vain(livekit_keys, room, chosen.agent_name)
        assert await keeper._wanted(api.Room(name=room), 0.0) is not None
        with pytest.raises(ServerGone):
            await keeper._wanted(api.Room(name=gone), 0.0)
        await met(there)


async def test_a_server_that_is_away_is_said_once_and_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    program = obtain(print, threading.Event())
    with tempfile.TemporaryDirectory() as folder:
        server = LocalLiveKit(Path(folder) / "livekit.log")
        keys = Keys(server.url, server.api_key, server.api_secret)
        chosen, room = options(keys, sweep_s=0.1), fresh("room")
        try:
            async with keeping(chosen) as keeper:
                with caplog.at_level(logging.DEBUG, "antiphon.rooms"):
                    await until(lambda: caplog.text.count("no LiveKit server") >= 3, "rounds in vain")
                levels = [record.levelname for record in caplog.records if "no LiveKit server" in record.getMessage()]
                assert levels[0] == "WARNING"
                assert set(levels[1:]) == {"DEBUG"}
                server.start(program)
                async with replica(chosen, Near(keeper)), caller(keys, room) as there:
                    await dispatched_in_vain(keys, room, chosen.agent_name)
                    await met(there)
                await keeper.check_health()
        finally:
            server.kill()


async def test_a_round_that_breaks_is_said_to_serve(livekit_keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    async with keeping(options(livekit_keys)) as keeper:
        await keeper.check_health()
        with monkeypatch.context() as broken:
            broken.setattr(keeper._roll, "forget_closed", None)
            await until(lambda: keeper._sweeping.done(), "an end of the rounds")
        with pytest.raises(TypeError):
            await keeper.check_health()
        keeper._sweeping = asyncio.create_task(asyncio.sleep(60))


async def test_a_replica_that_reads_no_orders_is_given_no_more(livekit_keys: Keys) -> None:
    async with keeping(options(livekit_keys)) as keeper:
        line = keeper.attend(Report("a", 2 * ORDERS_LIMIT, calls=("call",)))
        reading = asyncio.create_task(anext(line))
        await until(lambda: "a" in keeper._lines, "an open line")
        told = [await keeper.fall_silent("call") for _ in range(ORDERS_LIMIT + 2)]
        assert told.count(False) in (1, 2)  # the reader may have taken one
        await reading
        await line.aclose()
        assert not keeper._lines
        assert not await keeper.report(Report("a", 1))
