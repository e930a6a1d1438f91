"""Each promise of `deployments.residency` on its own. Time is virtual: seconds here take none."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from deployments.errors import AtCapacity, BadModel, BadRequest, ModelFailed
from deployments.residency import Residency
from deployments.residency_book import Copy, State
from tests.virtual_time import in_virtual_time, settled
from tests.warehouse import Model, Warehouse, residency

SIZES = {"a": 10, "b": 10, "c": 10, "large": 25}


def now() -> float:
    return asyncio.get_running_loop().time()


async def used_for(models: Residency[Model], id: str, seconds: float = 0.0, wait_s: float | None = None) -> Model:
    async with models.use(id, wait_s=wait_s) as model:
        assert model.is_warm
        assert not model.is_unloaded
        await asyncio.sleep(seconds)
        assert not model.is_unloaded
        return model


def states(models: Residency[Model]) -> dict[str, str]:
    return {status.id: status.state for status in models.snapshot()}


# --- one load for all who wait


@in_virtual_time
async def test_it_is_loaded_and_warm_at_the_first_use_and_still_there_at_the_next() -> None:
    models = residency(house := Warehouse(SIZES))
    assert (await used_for(models, "a")) is (await used_for(models, "a"))
    assert house.loads == {"a": 1}


@in_virtual_time
async def test_many_who_wait_share_one_load() -> None:
    models = residency(house := Warehouse(SIZES))
    got = await asyncio.gather(*(used_for(models, "a") for _ in range(9)))
    assert len(set(got)) == 1
    assert house.loads == {"a": 1}


@in_virtual_time
async def test_who_stops_waiting_does_not_stop_the_load_for_the_others() -> None:
    models = residency(house := Warehouse(SIZES))
    first, second = [asyncio.create_task(used_for(models, "a")) for _ in range(2)]
    await asyncio.sleep(0.5)
    first.cancel()
    assert (await second).id == "a"
    assert first.cancelled()
    assert house.loads == {"a": 1}


@in_virtual_time
async def test_the_last_one_who_stops_waiting_ends_the_load() -> None:
    models = residency(house := Warehouse(SIZES))
    waiting = [asyncio.create_task(used_for(models, "a")) for _ in range(2)]
    await asyncio.sleep(0.5)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await settled()
    assert models.snapshot() == ()
    assert (house.floor, house.cancelled) == ([], ["a"])
    assert (await used_for(models, "a")).id == "a"


@in_virtual_time
async def test_a_load_that_ends_although_it_was_cancelled_leaves_nothing_in_memory() -> None:
    class Deaf(Warehouse):
        async def load(self, model_id: str) -> Model:
            loading = asyncio.create_task(super().load(model_id))
            while not loading.done():
                try:
                    await asyncio.shield(loading)
                except asyncio.CancelledError:
                    continue
            return loading.result()

    models = residency(house := Deaf(SIZES))
    with pytest.raises(ModelFailed, match=r"a is not loaded after 0\.5 s"):
        await used_for(models, "a", wait_s=0.5)
    assert states(models) == {"a": "abandoned"}
    assert (await used_for(models, "a")).serial == 2  # loaded when the first one was gone
    assert [model.serial for model in house.unloaded] == [1]
    assert house.most_models == 1


@in_virtual_time
async def test_so_many_are_loaded_at_once_and_no_more() -> None:
    async def seconds(at_once: int) -> float:
        models, began = residency(Warehouse(SIZES), max_parallel_loads=at_once), now()
        await asyncio.gather(*(used_for(models, id) for id in "abc"))
        return now() - began

    assert await seconds(1) == pytest.approx(3.0)
    assert await seconds(2) == pytest.approx(2.0)


@in_virtual_time
async def test_more_than_max_waiting_are_refused_at_once() -> None:
    models = residency(Warehouse(SIZES), max_waiting=2)
    waiting = [asyncio.create_task(used_for(models, "a")) for _ in range(2)]
    await settled()
    with pytest.raises(AtCapacity, match="2 requests wait for models already"):
        await used_for(models, "b")
    assert now() == 0
    await asyncio.gather(*waiting)
    await asyncio.gather(*(used_for(models, "a") for _ in range(9)))  # it is there: nobody waits


# --- room


@in_virtual_time
async def test_the_longest_unused_makes_room() -> None:
    models = residency(house := Warehouse(SIZES), resident_cap=2, min_resident_s=0)
    for id in "abac":
        await used_for(models, id, seconds=1)
    assert states(models) == {"a": "resident", "c": "resident"}
    assert house.most_models == 2  # b was gone before c came


@in_virtual_time
async def test_a_large_model_takes_the_room_of_several() -> None:
    models = residency(house := Warehouse(SIZES), budget_bytes=35, min_resident_s=0)
    for id in ("a", "b", "c", "large"):
        await used_for(models, id)
    assert states(models) == {"c": "resident", "large": "resident"}
    assert house.most_bytes == 35


@in_virtual_time
async def test_what_is_used_is_not_unloaded_and_who_needs_its_room_is_told_why() -> None:
    models = residency(Warehouse(SIZES), resident_cap=1, min_resident_s=0)
    using = asyncio.create_task(used_for(models, "a", seconds=60))
    await asyncio.sleep(2)
    with pytest.raises(AtCapacity, match=r"no room for b: in memory are a \(in use by 1\)"):
        await used_for(models, "b", wait_s=5)
    assert now() == pytest.approx(7)
    assert (await used_for(models, "b", wait_s=90)).id == "b"
    assert now() == pytest.approx(61 + 0.5 + 1)  # a's last user left, a left, b came
    await using


@in_virtual_time
async def test_what_can_never_fit_is_refused_at_once() -> None:
    models = residency(Warehouse(SIZES), budget_bytes=30)
    await used_for(models, "a")
    models.pin("a")
    began = now()
    with pytest.raises(AtCapacity, match=r"no room for large: in memory are a \(pinned\)"):
        await used_for(models, "large")
    assert now() == began


@in_virtual_time
async def test_a_model_stays_for_its_minimum_whoever_needs_the_room() -> None:
    models = residency(Warehouse(SIZES), resident_cap=1, min_resident_s=120)
    await used_for(models, "a")  # since 1 s
    with pytest.raises(AtCapacity, match=r"a \(stays for 110 s\)") as refused:
        await used_for(models, "b", wait_s=10)
    assert refused.value.retry_after_s == pytest.approx(110)
    assert (await used_for(models, "b", wait_s=120)).id == "b"
    assert now() == pytest.approx(121 + 0.5 + 1)


@in_virtual_time
async def test_one_that_finds_no_room_does_not_hold_up_the_next() -> None:
    models = residency(Warehouse(SIZES), budget_bytes=35, min_resident_s=0)
    async with models.use("a"), models.use("b"):
        large = asyncio.create_task(used_for(models, "large"))
        await asyncio.sleep(1)
        assert (await used_for(models, "c")).id == "c"
        assert not large.done()
    assert (await large).id == "large"


@in_virtual_time
async def test_an_unknown_model_is_what_the_loader_says() -> None:
    models = residency(Warehouse(SIZES))
    with pytest.raises(BadModel, match="no model is called 'nobody'"):
        await used_for(models, "nobody")
    assert models.snapshot() == ()


# --- time


@in_virtual_time
async def test_a_model_leaves_when_nobody_has_used_it_for_long() -> None:
    models = residency(house := Warehouse(SIZES), ttl_s=600)
    await used_for(models, "a", seconds=1000)
    await asyncio.sleep(599)
    assert states(models) == {"a": "resident"}
    await asyncio.sleep(2)
    assert states(models) == {}
    assert house.floor == []


@in_virtual_time
async def test_it_does_not_leave_before_its_minimum() -> None:
    models = residency(Warehouse(SIZES), ttl_s=5, min_resident_s=120)
    await used_for(models, "a")
    await asyncio.sleep(119)
    assert states(models) == {"a": "resident"}
    await asyncio.sleep(2)
    assert states(models) == {}


@in_virtual_time
async def test_a_pinned_model_stays_until_it_is_unpinned() -> None:
    models = residency(Warehouse(SIZES), resident_cap=2, ttl_s=60, min_resident_s=0)
    models.pin("a")
    for id in "abc":
        await used_for(models, id)
    assert states(models) == {"a": "resident", "c": "resident"}
    await asyncio.sleep(1000)
    assert states(models) == {"a": "resident"}
    models.unpin("a")
    await asyncio.sleep(1)
    assert states(models) == {}


@in_virtual_time
async def test_a_preloaded_model_is_there_before_anybody_needs_it() -> None:
    models = residency(house := Warehouse(SIZES))
    await models.preload("a")
    began = now()
    await used_for(models, "a")
    assert now() == began
    assert house.loads == {"a": 1}


@in_virtual_time
async def test_an_idle_model_is_unloaded_at_once_however_short_it_stayed() -> None:
    models = residency(house := Warehouse(SIZES), min_resident_s=120)
    await used_for(models, "a")
    await models.unload("a")
    assert (models.snapshot(), house.floor) == ((), [])
    await models.unload("a")  # and what is not there is not unloaded
    assert house.loads == {"a": 1}


@in_virtual_time
async def test_a_model_in_use_is_not_unloaded_without_a_wait() -> None:
    models = residency(Warehouse(SIZES))
    using = asyncio.create_task(used_for(models, "a", 9))
    await asyncio.sleep(3)
    with pytest.raises(AtCapacity, match="a is in use by 1"):
        await models.unload("a")
    assert states(models) == {"a": "resident"}
    await using


@in_virtual_time
async def test_unloading_may_wait_for_the_last_user_and_nobody_else_gets_it() -> None:
    models = residency(house := Warehouse(SIZES), resident_cap=2)
    first = asyncio.create_task(used_for(models, "a", 9))
    await asyncio.sleep(3)
    unloading = asyncio.create_task(models.unload("a", wait_s=30))
    await settled()
    assert states(models) == {"a": "draining"}
    second = await used_for(models, "a")
    assert (second is not await first, house.loads) == (True, {"a": 2})
    await unloading
    assert states(models) == {"a": "resident"}


@in_virtual_time
async def test_a_wait_for_the_last_user_has_an_end() -> None:
    models = residency(Warehouse(SIZES))
    using = asyncio.create_task(used_for(models, "a", 100))
    await asyncio.sleep(3)
    with pytest.raises(AtCapacity, match="a is in use by 1 after 5 s; it leaves with the last of them"):
        await models.unload("a", wait_s=5)
    assert now() == 8
    await using
    await asyncio.sleep(9)
    assert models.snapshot() == ()


@in_virtual_time
async def test_what_is_pinned_or_on_its_way_is_not_unloaded() -> None:
    models = residency(Warehouse(SIZES))
    models.pin("a")
    await used_for(models, "a")
    with pytest.raises(BadRequest, match="a is pinned: unpin it first"):
        await models.unload("a", wait_s=5)
    coming = asyncio.create_task(used_for(models, "b"))
    await asyncio.sleep(0.5)
    with pytest.raises(AtCapacity, match="b is being loaded for 1 who wait"):
        await models.unload("b", wait_s=5)
    await coming


@in_virtual_time
async def test_an_adopted_model_is_there_and_pinned_and_counts() -> None:
    house = Warehouse(SIZES)
    models, model = residency(house, budget_bytes=30), Model("a", 1)
    model.is_warm = True
    models.adopt("a", model)
    assert await used_for(models, "a") is model
    assert [(status.id, status.pinned) for status in models.snapshot()] == [("a", True)]
    with pytest.raises(AtCapacity):
        models.adopt("large", Model("large", 1))
    assert house.loads == {}


# --- failures


@in_virtual_time
async def test_a_failed_load_fails_for_all_who_wait_and_says_why() -> None:
    models = residency(house := Warehouse(SIZES))
    house.broken["a"] = "model.onnx is not a voice's\nand more"
    failed = await asyncio.gather(*(used_for(models, "a") for _ in range(3)), return_exceptions=True)
    assert [(type(each), str(each)) for each in failed] == [
        (ModelFailed, "a cannot be loaded: model.onnx is not a voice's")
    ] * 3
    assert house.loads == {"a": 1}


@in_virtual_time
async def test_after_failures_it_waits_longer_and_longer_and_says_so() -> None:
    models = residency(house := Warehouse(SIZES, load_s=0), first_retry_s=1, longest_retry_s=3)
    house.broken["a"] = "broken"
    for pause_s in (1, 2, 3, 3):
        with pytest.raises(ModelFailed, match="cannot be loaded"):
            await used_for(models, "a")
        [status] = models.snapshot()
        assert (status.state, status.failure) == ("failed", "broken")
        assert status.retry_after_s == pytest.approx(pause_s)
        loads = house.loads["a"]
        with pytest.raises(ModelFailed, match=rf"broken; it is not tried again for {pause_s}\.0 s"):
            await used_for(models, "a")
        assert house.loads["a"] == loads
        await asyncio.sleep(pause_s)
    house.broken.clear()
    await used_for(models, "a")
    assert states(models) == {"a": "resident"}
    house.broken["a"] = "broken"
    with pytest.raises(ModelFailed):
        await models.replace("a")
    with pytest.raises(ModelFailed, match=r"not tried again for 1\.0 s"):  # all is forgiven after a success
        await models.replace("a")


@in_virtual_time
async def test_what_cannot_be_warmed_up_was_not_loaded() -> None:
    models = residency(house := Warehouse(SIZES))
    house.cold.add("a")
    with pytest.raises(ModelFailed, match="a cannot be loaded: a says nothing"):
        await used_for(models, "a")
    await asyncio.sleep(1)
    assert house.floor == []
    assert states(models) == {"a": "failed"}


@in_virtual_time
async def test_a_load_that_takes_too_long_has_failed() -> None:
    models = residency(house := Warehouse(SIZES, load_s=1000), load_timeout_s=20)
    with pytest.raises(ModelFailed, match="a cannot be loaded: its load took longer than 20 s"):
        await used_for(models, "a", wait_s=100)
    assert now() == pytest.approx(20)
    await settled()
    assert house.floor == []
    with pytest.raises(ModelFailed, match=r"longer than 20 s; it is not tried again for 1\.0 s"):
        await used_for(models, "a")


@in_virtual_time
async def test_who_waits_is_told_at_once_though_what_failed_takes_its_time_to_leave() -> None:
    models = residency(house := Warehouse(SIZES, unload_s=4), min_resident_s=0)
    house.cold.add("a")
    with pytest.raises(ModelFailed, match="a says nothing"):
        await used_for(models, "a", wait_s=2)
    assert now() == pytest.approx(1)
    assert states(models) == {"a": "unloading"}
    await asyncio.sleep(5)
    assert house.floor == []


@in_virtual_time
async def test_a_model_that_does_not_leave_is_counted_as_gone(caplog: pytest.LogCaptureFixture) -> None:
    models = residency(Warehouse(SIZES, unload_s=1000), resident_cap=1, min_resident_s=0, unload_timeout_s=5, wait_s=60)
    await used_for(models, "a")
    await used_for(models, "b")
    assert now() == pytest.approx(1 + 5 + 1)
    assert "a did not leave memory as it should" in caplog.text


# --- replacing


@in_virtual_time
async def test_new_users_get_the_new_copy_and_old_ones_finish_with_the_old() -> None:
    models = residency(house := Warehouse(SIZES))
    async with AsyncExitStack() as old:
        before = await old.enter_async_context(models.use("a"))
        replacing = asyncio.create_task(models.replace("a"))
        await asyncio.sleep(0.5)
        assert await used_for(models, "a") is before  # the new one is not there yet
        await replacing
        after = await used_for(models, "a", seconds=5)
        assert (before.serial, after.serial) == (1, 2)
        assert [status.state for status in models.snapshot()] == ["draining", "resident"]
        assert not before.is_unloaded
    await asyncio.sleep(1)
    assert before.is_unloaded
    assert house.floor == ["a"]


@in_virtual_time
async def test_where_the_new_copy_fails_the_old_one_stays() -> None:
    models = residency(house := Warehouse(SIZES))
    before = await used_for(models, "a")
    house.broken["a"] = "half a file"
    with pytest.raises(ModelFailed, match="half a file"):
        await models.replace("a")
    assert await used_for(models, "a") is before


@in_virtual_time
async def test_there_must_be_room_for_both() -> None:
    models = residency(house := Warehouse(SIZES), budget_bytes=45, min_resident_s=0)
    before = await used_for(models, "large")
    with pytest.raises(AtCapacity, match="no room for large"):
        await models.replace("large")
    assert await used_for(models, "large") is before
    assert house.most_bytes == 25


@in_virtual_time
async def test_a_load_under_way_is_waited_for_and_then_replaced() -> None:
    models = residency(house := Warehouse(SIZES))
    using = asyncio.create_task(used_for(models, "a"))
    await asyncio.sleep(0.5)
    await models.replace("a")
    assert (await using).serial == 1
    assert (await used_for(models, "a")).serial == house.loads["a"] == 2


@in_virtual_time
async def test_a_model_that_is_not_in_memory_is_not_loaded_to_be_replaced() -> None:
    models = residency(house := Warehouse(SIZES))
    await models.replace("a")
    assert house.loads == {}


# --- the end


@in_virtual_time
async def test_at_the_end_all_leave_after_their_users() -> None:
    models = residency(house := Warehouse(SIZES))
    models.pin("b")
    await models.preload("b")
    using = asyncio.create_task(used_for(models, "a", seconds=20))
    await asyncio.sleep(2)
    waiting = asyncio.create_task(used_for(models, "c"))
    await settled()
    closing = asyncio.create_task(models.close(deadline_s=60))
    with pytest.raises(ModelFailed, match="c cannot be loaded: this process is ending"):
        await waiting
    with pytest.raises(ModelFailed, match="a is not loaded any more"):
        await used_for(models, "a")
    assert not using.done()
    assert await closing == ()
    assert using.done()
    assert house.floor == []
    assert await models.close(deadline_s=0) == ()


@in_virtual_time
async def test_what_is_used_for_longer_than_the_end_waits_is_left_alone() -> None:
    models = residency(house := Warehouse(SIZES))
    using = asyncio.create_task(used_for(models, "a", seconds=100))
    await asyncio.sleep(2)
    assert await models.close(deadline_s=10) == ("a",)
    assert not house.unloaded
    await using
    await asyncio.sleep(1)
    assert house.floor == []


@in_virtual_time
async def test_a_load_that_has_not_begun_when_the_end_comes_never_begins() -> None:
    models = residency(house := Warehouse(SIZES))
    waiting = asyncio.create_task(used_for(models, "a"))
    await asyncio.sleep(0)
    assert await models.close(deadline_s=10) == ()
    with pytest.raises(ModelFailed, match="this process is ending"):
        await waiting
    assert house.loads == {}


# --- what others see


@in_virtual_time
async def test_the_snapshot_and_what_routers_are_told() -> None:
    models = residency(house := Warehouse(SIZES), resident_cap=2, min_resident_s=0)
    await used_for(models, "b")
    await used_for(models, "c")
    models.pin("c")
    await asyncio.sleep(9)
    async with models.use("b"):
        house.broken["a"] = "broken"
        waiting = asyncio.create_task(used_for(models, "a"))
        await settled()
        b, c, a = models.snapshot()
        assert (b.id, b.state, b.users, b.pinned, b.size_bytes, b.last_used_s) == ("b", "resident", 1, False, 10, 0)
        assert (c.id, c.users, c.pinned, c.loads) == ("c", 0, True, 1)
        assert c.last_used_s == pytest.approx(9)
        assert (a.id, a.state, a.users) == ("a", "waiting", 1)
        assert models.routing_stats() == {"resident": ["b", "c"], "arriving": ["a"]}
    assert [(s.id, s.state, s.evictions) for s in models.snapshot()] == [
        ("b", "unloading", 1),
        ("c", "resident", 0),
        ("a", "making_room", 0),
    ]
    with pytest.raises(ModelFailed):
        await waiting
    assert states(models) == {"c": "resident", "a": "failed"}
    assert models.routing_stats() == {"resident": ["c"], "arriving": []}


def test_a_step_that_no_copy_takes_is_an_error() -> None:
    copy = Copy[None]("a", 10, 0.0)
    with pytest.raises(RuntimeError, match="a copy of a cannot become resident: it is waiting"):
        copy.move(State.RESIDENT)
