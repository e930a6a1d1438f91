"""What stops while a call is paused, and goes on after it."""

import asyncio

import pytest

from serve_app.flow import Brake, Flow
from tests.virtual_time import in_virtual_time, settled


class Work:
    """Something done in steps of a second, of which a broken off one is lost."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.done: list[float] = []
        self.begun = 0

    async def __call__(self) -> str:
        self.begun += 1
        while len(self.done) < self.steps:
            await asyncio.sleep(1)
            self.done.append(asyncio.get_running_loop().time())
        return "done"


def driven(flow: Flow, brake: Brake, work: Work, *, worth: bool = True) -> asyncio.Task[str]:
    async def drive() -> str:
        with flow.watched(brake.check):
            return await brake.drive(work, lambda: worth)

    return asyncio.create_task(drive())


@in_virtual_time
async def test_a_pause_stops_it_at_once_and_the_rest_is_done_afterwards() -> None:
    flow, work = Flow(), Work(3)
    brake = Brake(flow)
    brake.arm()
    task = driven(flow, brake, work)
    await asyncio.sleep(1.5)
    flow.pause()
    await asyncio.sleep(10)
    assert (work.begun, work.done) == (1, [1.0])
    flow.resume()
    assert await task == "done"
    assert (work.begun, work.done) == (2, [1.0, 12.5, 13.5])


@in_virtual_time
async def test_before_there_is_anything_to_hear_it_works_on_and_then_stops() -> None:
    flow, work = Flow(), Work(5)
    brake = Brake(flow)
    task = driven(flow, brake, work)
    await settled()
    flow.pause()
    await asyncio.sleep(2.5)
    assert len(work.done) == 2
    brake.arm()
    await asyncio.sleep(10)
    assert len(work.done) == 2
    flow.resume()
    await task


@in_virtual_time
async def test_what_begins_in_a_pause_waits_for_its_end() -> None:
    flow, work = Flow(), Work(1)
    brake = Brake(flow)
    brake.arm()
    flow.pause()
    task = driven(flow, brake, work)
    await asyncio.sleep(5)
    assert work.begun == 0
    flow.resume()
    await task


@in_virtual_time
async def test_what_is_nearly_done_is_not_broken_off() -> None:
    flow, work = Flow(), Work(2)
    brake = Brake(flow)
    brake.arm()
    task = driven(flow, brake, work, worth=False)
    await settled()
    flow.pause()
    assert await task == "done"
    assert work.begun == 1


@in_virtual_time
async def test_a_deadline_of_the_work_is_no_pause() -> None:
    async def late() -> None:
        async with asyncio.timeout(1):
            await asyncio.sleep(5)

    with pytest.raises(TimeoutError):
        await Brake(Flow()).drive(late)


@in_virtual_time
async def test_who_is_cancelled_in_a_pause_is_gone() -> None:
    flow, work = Flow(), Work(3)
    brake = Brake(flow)
    brake.arm()
    task = driven(flow, brake, work)
    await settled()
    flow.pause()
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
