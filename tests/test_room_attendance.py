import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from loadtest.room_ticket import Keys
from serve_app.rooms import attendance
from serve_app.rooms.attendance import Attendance
from serve_app.rooms.roll import Ended, FallSilent, Join, Order, Report, Stay
from tests.agents_kit import Keeper, Near, ended, keeping, options, until

pytestmark = pytest.mark.timeout(60)

STAY = Stay("room", "call_1", "antiphon-1")
NOWHERE = Keys("ws://127.0.0.1:9", "key", "s" * 43)
"""No LiveKit server: the keeper only listens to its replicas."""


class Desk:
    """A replica's side: what it would report, and what it was told."""

    def __init__(self, keeper: Near, name: str = "a", free: int = 3) -> None:
        self.state = Report(name, free)
        self.orders: list[Order] = []
        self.attendance = Attendance(keeper, lambda: self.state, self.orders.append)

    def becomes(self, *stays: Stay, free: int = 3) -> None:
        self.state = Report(self.state.replica, free, stays, tuple(stay.call for stay in stays))
        self.attendance.changed()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Desk"]:
        task = asyncio.create_task(self.attendance.run())
        try:
            yield self
        finally:
            await ended(task)


@asynccontextmanager
async def desk(keeper: Keeper) -> AsyncIterator[Desk]:
    async with Desk(Near(keeper)).running() as made:
        await until(lambda: "a" in keeper._lines, "an open line")
        yield made


async def test_reports_reach_the_keeper_and_orders_come_back() -> None:
    async with keeping(options(NOWHERE)) as keeper, desk(keeper) as one:
        one.becomes(STAY)
        await until(lambda: keeper._roll.host("room", 0.0) == "a", "the report")
        assert await one.attendance.fall_silent("call_1")
        await until(lambda: one.orders == [FallSilent("call_1")], "the order")
        assert not await one.attendance.fall_silent("call_2")
        assert not await one.attendance.place(
            Join("other", "{}")
        )  # we asked because we are full, and there is nobody else
        assert await keeper.place(Join("other", "{}"))
        await until(lambda: one.orders[1:] == [Join("other", "{}")], "an order to join")


async def test_a_claim_is_granted_to_one_replica() -> None:
    async with keeping(options(NOWHERE)) as keeper, desk(keeper) as one:
        assert await one.attendance.claim("room", "a")
        assert not await one.attendance.claim("room", "b")


async def test_where_all_are_full_nobody_is_placed() -> None:
    async with keeping(options(NOWHERE)) as keeper, desk(keeper) as one:
        one.becomes(free=0)
        await until(lambda: keeper._roll.roomiest(0.0) is None, "the report")
        assert not await one.attendance.place(Join("room"))


async def test_without_a_keeper_claims_are_granted_and_nothing_is_placed() -> None:
    one = Desk(Near())
    assert await one.attendance.claim("room", "a")
    assert not await one.attendance.place(Join("room"))
    assert not await one.attendance.fall_silent("call")


class Silent(Near):
    """It is there, and never answers."""

    async def ask(self, method: str, *args: object, **kwargs: object) -> object:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_keeper_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attendance, "ANSWER_S", 0.05)
    assert await Desk(Silent()).attendance.claim("room", "a")


async def test_a_keeper_that_comes_back_is_told_everything_anew() -> None:
    near = Near()
    async with Desk(near).running() as one:
        one.becomes(STAY)
        async with keeping(options(NOWHERE)) as first:
            near.replica = first
            await until(lambda: first._roll.host("room", 0.0) == "a", "the report")
            near.die()
            await until(lambda: not first._lines, "an end of the line")
        async with keeping(options(NOWHERE)) as second:
            near.replica = second
            await until(lambda: second._roll.host("room", 0.0) == "a", "the report, at the new keeper")
            near.die()
            await until(lambda: not second._lines, "an end of the line")


async def test_a_report_that_nobody_took_is_sent_again() -> None:
    near = Near()
    async with keeping(options(NOWHERE)) as keeper, Desk(near).running() as one:
        one.becomes(STAY)  # the keeper is not there yet
        await asyncio.sleep(0)
        near.replica = keeper
        await until(lambda: keeper._roll.host("room", 0.0) == "a", "the report")
        one.becomes()
        await until(lambda: keeper._roll.host("room", 0.0) is None, "the next report")


async def test_an_end_is_told_before_the_report_without_it() -> None:
    """In whichever order they were made: else the room would look for an agent that its caller must not get."""
    heard: list[str] = []

    class Slow(Near):
        async def ask(self, method: str, *args: object, **kwargs: object) -> object:
            await asyncio.sleep(0.02 if method == "ended" else 0)
            heard.append(method)
            return await super().ask(method, *args, **kwargs)

    async with keeping(options(NOWHERE)) as keeper, Desk(Slow(keeper)).running() as one:
        await until(lambda: "a" in keeper._lines, "an open line")
        telling = asyncio.create_task(one.attendance.ended(Ended(STAY, "PA_1")))
        await asyncio.sleep(0)
        one.becomes()
        await telling
        await until(lambda: len(heard) == 2, "both")
        assert heard == ["ended", "report"]
        assert keeper._roll.unattended["room"].answered == {"PA_1"}


async def test_an_order_that_cannot_be_obeyed_does_not_cost_the_line() -> None:
    obeyed: list[Order] = []

    def obey(order: Order) -> None:
        obeyed.append(order)
        raise ValueError(order)

    async with keeping(options(NOWHERE)) as keeper:
        line = Attendance(Near(keeper), lambda: Report("a", 3), obey)
        task = asyncio.create_task(line.run())
        await until(lambda: "a" in keeper._lines, "an open line")
        for room in ("one", "two"):
            assert await keeper.place(Join(room))
        await until(lambda: len(obeyed) == 2, "both orders")
        assert keeper._lines
        await ended(task)
