"""Who gets the device next, and who never does."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.errors import AtCapacity
from deployments.queue import STEP_S, DeviceQueue
from deployments.queue_metrics import metering
from deployments.urgency import Priority, Urgency, current_urgency, urgent
from tests.virtual_time import VirtualLoop, in_virtual_time, settled

FIRST, LATER, PARTIAL, SPECULATION, HOUSEKEEPING = Priority


@dataclass
class Device:
    """Requests at one queue; each that starts runs until the test ends it."""

    queue: DeviceQueue
    started: list[str] = field(default_factory=list)
    ends: dict[str, asyncio.Event] = field(default_factory=dict)
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def ask(
        self, name: str, priority: Priority = FIRST, wait_s: float | None = None, lane: str | None = None
    ) -> None:
        """It arrives now, from a call of the same name."""
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name, Urgency(priority, wait_s, name), lane))
        await settled()

    async def _run(self, name: str, urgency: Urgency, lane: str | None) -> None:
        async with self.queue.place(urgency, lane):
            self.started.append(name)
            await self.ends[name].wait()

    async def end(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
            await settled()

    async def leave(self, name: str) -> None:
        self.tasks[name].cancel()
        await settled()

    def error(self, name: str) -> BaseException | None:
        return self.tasks[name].exception()


def device(places: int = 1, max_waiting: int = 64) -> Device:
    return Device(DeviceQueue("model", places, max_waiting, 60.0))


@in_virtual_time
async def test_who_finds_it_free_starts_at_once() -> None:
    busy = device(places=2)
    await busy.ask("a")
    await busy.ask("b", HOUSEKEEPING)
    assert busy.started == ["a", "b"]
    assert (busy.queue.running, busy.queue.waiting, busy.queue.count("started")) == (2, 0, 2)
    await busy.end("a", "b")
    assert busy.queue.running == 0


@in_virtual_time
async def test_the_more_urgent_goes_first_and_of_equals_the_earlier() -> None:
    busy = device()
    await busy.ask("running")
    asked = [HOUSEKEEPING, SPECULATION, PARTIAL, LATER, FIRST]
    for priority in asked:
        await busy.ask(f"{priority.name} 1", priority)
    for priority in asked:
        await busy.ask(f"{priority.name} 2", priority)
    await busy.end("running", *[f"{priority.name} {n}" for priority in Priority for n in (1, 2)])
    assert busy.started[1:] == [f"{priority.name} {n}" for priority in Priority for n in (1, 2)]


@in_virtual_time
async def test_what_has_waited_long_is_not_overtaken_any_more() -> None:
    busy = device()
    await busy.ask("running")
    await busy.ask("old", SPECULATION)
    await asyncio.sleep(SPECULATION * STEP_S - 0.1)
    await busy.ask("overtakes")
    await asyncio.sleep(0.2)
    await busy.ask("too late to overtake")
    await busy.end("running", "overtakes", "old")
    assert busy.started == ["running", "overtakes", "old", "too late to overtake"]


@in_virtual_time
async def test_what_was_promoted_is_as_urgent_as_if_it_had_been_from_the_start() -> None:
    busy = device()
    await busy.ask("running")
    await busy.ask("early", SPECULATION)
    await busy.ask("late")
    await busy.ask("nobody's", SPECULATION)
    assert busy.queue.promote("early") == 1
    assert busy.queue.promote("running") == 0
    await busy.end("running", "early", "late")
    assert busy.started == ["running", "early", "late", "nobody's"]
    assert busy.queue.fates[FIRST, "started"] == 3


@in_virtual_time
async def test_what_waits_too_long_never_starts() -> None:
    busy = device()
    await busy.ask("running")
    await busy.ask("in time", wait_s=2.0)
    await busy.ask("too late", wait_s=1.0)
    await asyncio.sleep(1.5)
    assert "waited for 1.0 s" in str(busy.error("too late"))
    assert isinstance(busy.error("too late"), AtCapacity)
    await busy.end("running", "in time")
    assert busy.started == ["running", "in time"]
    assert (busy.queue.count("expired"), busy.queue.waiting) == (1, 0)


@in_virtual_time
async def test_what_comes_too_late_never_starts_though_the_device_is_free() -> None:
    busy = device()
    await busy.ask("late", wait_s=0.0)
    assert isinstance(busy.error("late"), AtCapacity)
    assert (busy.started, busy.queue.running, busy.queue.count("expired")) == ([], 0, 1)


async def test_what_is_out_of_time_does_not_start_though_nothing_has_told_it_yet() -> None:
    busy = device()
    async with busy.queue.place(Urgency()):
        await busy.ask("too late", wait_s=0.05)
        time.sleep(0.06)  # noqa: ASYNC251  # the loop is busy, and comes to everything at once
    await settled()
    assert (busy.started, busy.queue.running, busy.queue.count("expired")) == ([], 0, 1)


@in_virtual_time
async def test_nobody_waits_longer_than_the_model_may_take() -> None:
    busy = device()
    await busy.ask("running")
    await busy.ask("patient", wait_s=1e6)
    await busy.ask("without a limit")
    await asyncio.sleep(60.5)
    assert busy.queue.count("expired") == 2


@in_virtual_time
async def test_who_leaves_costs_nothing() -> None:
    busy = device()
    await busy.ask("running")
    await busy.ask("gone")
    await busy.ask("next")
    await busy.leave("gone")
    await busy.end("running")
    assert busy.started == ["running", "next"]
    assert (busy.queue.count("dropped"), busy.queue.waiting, busy.queue.running) == (1, 0, 1)


@in_virtual_time
async def test_who_leaves_in_the_moment_of_their_turn_hands_it_on() -> None:
    busy = device()
    for name in ("running", "gone", "next"):
        await busy.ask(name)
    busy.ends["running"].set()
    while busy.queue.waiting == 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    busy.tasks["gone"].cancel()  # the device is theirs, and they do not know it yet
    await settled()
    assert busy.started == ["running", "next"]
    assert (busy.queue.running, busy.queue.count("dropped")) == (1, 1)


@in_virtual_time
async def test_when_too_many_wait_the_least_urgent_is_refused() -> None:
    busy = device(max_waiting=2)
    await busy.ask("running")
    await busy.ask("phrase", LATER)
    await busy.ask("guess", SPECULATION)
    await busy.ask("housekeeping", HOUSEKEEPING)
    assert isinstance(busy.error("housekeeping"), AtCapacity)
    await busy.ask("turn")
    assert isinstance(busy.error("guess"), AtCapacity)
    await busy.end("running", "turn", "phrase")
    assert busy.started == ["running", "turn", "phrase"]
    assert busy.queue.count("refused") == 2


@in_virtual_time
async def test_requests_of_a_lane_run_one_after_the_other_and_keep_nobody_else_waiting() -> None:
    busy = device(places=2)
    await busy.ask("a1", lane="a")
    await busy.ask("a2", lane="a")
    await busy.ask("b", SPECULATION, lane="b")
    assert busy.started == ["a1", "b"]
    await busy.ask("c", SPECULATION, lane="c")
    await busy.end("b")
    assert busy.started == ["a1", "b", "c"]
    await busy.end("a1")
    assert busy.started[3:] == ["a2"]


@in_virtual_time
async def test_what_breaks_gives_the_device_back() -> None:
    queue = DeviceQueue("model", 1, 4, 60.0)
    with pytest.raises(ZeroDivisionError):
        async with queue.place(Urgency()):
            raise ZeroDivisionError
    assert queue.running == 0


async def test_what_waited_is_counted_by_priority() -> None:
    noted: list[tuple[Any, ...]] = []
    queue = DeviceQueue("model", 1, 4, 60.0, lambda *what: noted.append(what))
    async with queue.place(Urgency(SPECULATION)):
        waiting = asyncio.create_task(queue.place(Urgency(FIRST)).__aenter__())
        await asyncio.sleep(0.02)
    await waiting
    assert [what[:2] for what in noted] == [(SPECULATION, "started"), (FIRST, "started")]
    assert queue.waited_s[SPECULATION] == 0
    assert queue.waited_s[FIRST] == noted[1][2] > 0


@in_virtual_time
async def test_its_figures_are_by_priority() -> None:
    busy = device()
    await busy.ask("running")
    await busy.ask("waiting")
    await busy.ask("late", SPECULATION, wait_s=1.0)
    await asyncio.sleep(2)
    await busy.end("running")
    figures = busy.queue.figures()
    assert (figures.running, figures.waiting) == (1, 0)
    assert figures.requests == {"first_phrase": {"started": 2}, "speculation": {"expired": 1}}
    assert figures.waited_s == {"first_phrase": 2.0, "speculation": 0.0}


def test_every_fate_can_be_told_to_prometheus() -> None:
    observe = metering("model")
    for priority in Priority:
        for fate in ("started", "expired", "dropped", "refused"):
            observe(priority, fate, 0.1)


async def test_urgency_goes_with_what_is_asked_and_with_its_tasks() -> None:
    async def asked() -> Urgency:
        return current_urgency()

    with urgent(SPECULATION, 2.0, "call"):
        task = asyncio.create_task(asked())
        with urgent(FIRST):
            assert current_urgency() == Urgency(FIRST)
        assert current_urgency() == await asked() == Urgency(SPECULATION, 2.0, "call")
    assert await task == Urgency(SPECULATION, 2.0, "call")
    assert current_urgency() == Urgency()


# --- whatever happens

PLACES, MOST = 2, 4
NAMES = st.sampled_from([f"r{n}" for n in range(12)])
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("ask"),
            st.sampled_from(Priority),
            st.sampled_from([None, 0.0, 0.5, 3.0]),
            st.sampled_from([None, "a", "b"]),
        ),
        st.tuples(st.just("end"), NAMES),
        st.tuples(st.just("leave"), NAMES),
        st.tuples(st.just("promote"), NAMES),
        st.tuples(st.just("wait"), st.floats(0.1, 5.0)),
    ),
    max_size=40,
)


class Checked(Device):
    """Every start is held against what was asked: nothing that is out of time or gone, nobody out of order."""

    asked: dict[str, tuple[float, float, str | None]]
    """Rank, last moment, lane."""
    priorities: dict[str, Priority]

    async def step(self, step: tuple[Any, ...]) -> None:
        kind, *what = step
        now_s = asyncio.get_running_loop().time()
        if kind == "ask":
            priority, wait_s, lane = what
            name = f"r{len(self.tasks)}"
            self.priorities[name] = priority
            self.asked[name] = now_s + STEP_S * priority, now_s + (60.0 if wait_s is None else wait_s), lane
            await self.ask(name, *what)
        elif kind == "wait":
            await asyncio.sleep(what[0])
            await settled()
        elif what[0] in self.tasks:
            if kind == "promote" and self.queue.promote(what[0]):
                rank_s, expires_s, lane = self.asked[what[0]]
                self.asked[what[0]] = rank_s - STEP_S * self.priorities[what[0]], expires_s, lane
                self.priorities[what[0]] = FIRST
            elif kind == "end" and what[0] in self.started:
                await self.end(what[0])
            elif kind == "leave":
                await self.leave(what[0])
        self.check()

    def check(self) -> None:
        running = [name for name in self.started if not self.tasks[name].done()]
        assert len(running) == self.queue.running <= PLACES
        assert self.queue.waiting <= MOST
        lanes = [self.lanes[name] for name in running if self.lanes[name]]
        assert len(lanes) == len(set(lanes))
        waiting = [name for name, task in self.tasks.items() if not task.done() and name not in running]
        assert len(waiting) == self.queue.waiting
        free = len(running) < PLACES
        assert not (free and any(self.lanes[name] not in lanes for name in waiting)), "somebody waits for nothing"

    @property
    def lanes(self) -> dict[str, str | None]:
        return {name: lane for name, (_, _, lane) in self.asked.items()}

    async def _run(self, name: str, urgency: Urgency, lane: str | None) -> None:
        async with self.queue.place(urgency, lane):
            now_s = asyncio.get_running_loop().time()
            rank_s, expires_s, _ = self.asked[name]
            assert now_s < expires_s
            running = [other for other in self.started if not self.tasks[other].done()]
            busy = {self.lanes[other] for other in running} - {None}
            for other, task in self.tasks.items():
                if other != name and not task.done() and not task.cancelling() and other not in self.started:
                    other_rank_s, other_expires_s, other_lane = self.asked[other]
                    could = other_lane not in busy and other_expires_s > now_s and other_lane != lane
                    assert rank_s <= other_rank_s or not could, f"{name} went before {other}"
            self.started.append(name)
            await self.ends[name].wait()


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work)


@given(STEPS)
def test_at_random(steps: list[tuple[Any, ...]]) -> None:
    async def all_steps() -> None:
        checked = Checked(DeviceQueue("model", PLACES, MOST, 60.0))
        checked.asked, checked.priorities = {}, {}
        for step in steps:
            await checked.step(step)
        for _ in range(len(checked.tasks) + 1):  # whoever is left is served
            await checked.end(*[name for name in checked.started if not checked.tasks[name].done()])
        met = [task.exception() for task in checked.tasks.values() if not task.cancelled()]
        assert all(task.done() for task in checked.tasks.values())
        assert all(error is None or isinstance(error, AtCapacity) for error in met), met
        assert (checked.queue.running, checked.queue.waiting) == (0, 0)
        assert sum(checked.queue.fates.values()) == len(checked.tasks)

    run(all_steps())


# --- requests that are made in steps


@dataclass
class Stepping(Device):
    """Some requests give way whenever the test says so; each time that they go on they have started again."""

    steps: dict[str, asyncio.Event] = field(default_factory=dict)

    async def step_by_step(self, name: str, priority: Priority) -> None:
        self.steps[name] = asyncio.Event()
        await self.ask(name, priority)

    async def step(self, name: str) -> None:
        self.steps[name].set()
        await settled()

    async def _run(self, name: str, urgency: Urgency, lane: str | None) -> None:
        async with self.queue.place(urgency, lane) as place:
            self.started.append(name)
            while name in self.steps:
                ends, steps = (asyncio.create_task(each.wait()) for each in (self.ends[name], self.steps[name]))
                await asyncio.wait({ends, steps}, return_when=asyncio.FIRST_COMPLETED)
                ends.cancel()
                steps.cancel()
                if self.ends[name].is_set():
                    return
                self.steps[name].clear()
                await place.give_way()
                self.started.append(name)
            await self.ends[name].wait()


@pytest.mark.parametrize(("other", "goes_first"), [(FIRST, True), (LATER, False), (SPECULATION, False)])
@in_virtual_time
async def test_only_who_is_more_urgent_is_given_way_to(other: Priority, goes_first: bool) -> None:
    at, order = device(), list[str]()

    async def steps() -> None:
        async with at.queue.place(Urgency(LATER)) as place:
            for step in "12":
                order.append(step)
                await asyncio.sleep(1)
                await place.give_way()

    async def once() -> None:
        async with at.queue.place(Urgency(other)):
            order.append("other")
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(steps())
        await asyncio.sleep(0.5)
        group.create_task(once())
    assert order == (["1", "other", "2"] if goes_first else ["1", "2", "other"])
    assert at.queue.running == at.queue.waiting == 0
    assert at.queue.count("started") == 2


@in_virtual_time
async def test_who_leaves_while_giving_way_has_no_place_to_free() -> None:
    at = device()

    async def steps() -> None:
        async with at.queue.place(Urgency(LATER)) as place:
            await asyncio.sleep(1)
            await place.give_way()

    stepping = asyncio.create_task(steps())
    await settled()
    await at.ask("urgent")
    await asyncio.sleep(1.5)
    assert at.started == ["urgent"]
    stepping.cancel()
    await settled()
    assert at.queue.running == 1
    await at.end("urgent")
    assert at.queue.running == at.queue.waiting == 0


@in_virtual_time
async def test_who_gives_way_keeps_its_rank_and_is_counted_once() -> None:
    at = Stepping(DeviceQueue("model", 1, 1, 60.0))
    await at.step_by_step("early", LATER)
    await at.ask("late", LATER)
    await at.step("early")
    assert at.started == ["early", "early"], "of equals the earlier one goes on"
    await at.leave("late")
    await at.ask("urgent")
    await at.step("early")
    assert at.started == ["early", "early", "urgent"]
    await at.ask("another")  # too many wait now: who has begun does not leave
    assert isinstance(at.error("another"), AtCapacity)
    await at.end("urgent")
    assert at.started == ["early", "early", "urgent", "early"]
    await at.end("early")
    assert at.queue.running == at.queue.waiting == 0
    assert {fate: at.queue.count(fate) for fate in ("started", "dropped", "refused")} == {
        "started": 2,
        "dropped": 1,
        "refused": 1,
    }


@in_virtual_time
async def test_what_is_wanted_while_it_runs_gives_way_no_more() -> None:
    at = Stepping(DeviceQueue("model", 1, 64, 60.0))
    await at.step_by_step("early", SPECULATION)
    at.queue.promote("early")
    await at.ask("urgent")
    await at.step("early")
    assert at.started == ["early", "early"]
    await at.end("early", "urgent")


@in_virtual_time
async def test_nobody_gives_way_to_who_cannot_start() -> None:
    at = Stepping(DeviceQueue("model", 2, 64, 60.0))
    await at.ask("other", lane="lane")
    await at.step_by_step("early", LATER)
    await at.ask("urgent", lane="lane")
    await at.step("early")
    assert at.started == ["other", "early", "early"]
    assert at.queue.running == 2
    await at.end("early", "other", "urgent")
    assert at.queue.running == at.queue.waiting == 0
