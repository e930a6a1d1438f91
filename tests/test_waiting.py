"""Waiting for something no longer than what it depends on lasts."""

import asyncio

import pytest

from loadtest.waiting import outlast


class Lost(Exception):
    """What a guard ends with."""


def guard() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


async def test_what_is_wanted_comes_first() -> None:
    lost = guard()
    await outlast(asyncio.sleep(0), {lost})
    assert not lost.done()


async def test_its_own_error_is_raised() -> None:
    async def fails() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await outlast(fails(), {guard()})


async def test_a_guard_that_ends_first_ends_the_waiting() -> None:
    wanted, lost = asyncio.Event(), guard()
    task = asyncio.create_task(wanted.wait())
    asyncio.get_running_loop().call_soon(lost.set_exception, Lost())
    with pytest.raises(Lost):
        await outlast(task, {guard(), lost})
    assert task.cancelled()


async def test_a_guard_that_had_ended_before_ends_it_at_once() -> None:
    lost = guard()
    lost.set_exception(Lost())
    with pytest.raises(Lost):
        await outlast(asyncio.Event().wait(), {lost})


async def test_what_is_there_already_is_not_taken_back() -> None:
    lost = guard()
    lost.set_exception(Lost())
    there = asyncio.ensure_future(asyncio.sleep(0))
    await there
    await outlast(there, {lost})
    assert isinstance(lost.exception(), Lost)


async def test_a_guard_that_ends_well_guards_no_more() -> None:
    fine, lost, wanted = guard(), guard(), asyncio.Event()
    task = asyncio.create_task(outlast(wanted.wait(), {fine, lost}))
    await asyncio.sleep(0)
    fine.set_result(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    lost.set_exception(Lost())
    with pytest.raises(Lost):
        await task


async def test_who_waits_can_be_cancelled_and_takes_the_wanted_along() -> None:
    inner = asyncio.create_task(asyncio.Event().wait())
    outer = asyncio.create_task(outlast(inner, {guard()}))
    await asyncio.sleep(0)
    outer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await outer
    assert inner.cancelled()
