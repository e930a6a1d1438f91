"""No order of events breaks a promise of `deployments.residency`."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deployments.errors import AntiphonError
from deployments.options import ResidencyOptions
from deployments.residency import Residency
from tests.virtual_time import VirtualLoop, settled
from tests.warehouse import Model, Warehouse

SIZES = {"a": 1, "b": 2, "c": 3, "d": 4}
IDS = st.sampled_from(sorted(SIZES))
ANY = st.integers(0, 99)  # of what there is
SECONDS = st.sampled_from([0.0, 0.5, 1.0, 4.0, 16.0, 64.0])  # their sums are exact


class Visit:
    """Somebody who uses a model, or waits for it, or has it replaced."""

    def __init__(self, id: str, answered_by: float) -> None:
        self.id, self.answered_by = id, answered_by
        self.leave = asyncio.Event()
        self.model: Model | None = None
        self.is_over = False
        self.task: asyncio.Task[None] | None = None


class Watched(Warehouse):
    """Notes every broken promise about what may be loaded and unloaded, and when."""

    def __init__(self, options: ResidencyOptions, loop: VirtualLoop) -> None:
        super().__init__(SIZES)
        self.options, self.loop = options, loop
        self.wrong: list[str] = []
        self.visits: list[Visit] = []
        self.pinned: set[str] = set()
        self.failures: Counter[str] = Counter()
        self.not_before: dict[str, float] = {}
        self.loaded_at: dict[Model, float] = {}
        self.used_at: dict[Model, float] = {}  # of what has had a user
        self.replaced: set[Model] = set()
        self.is_closing = False

    def mind(self, is_right: bool, what: str) -> None:
        if not is_right:
            self.wrong.append(f"at {self.loop.time():g} s: {what}")

    def has_users(self, model: Model) -> bool:
        return any(visit.model is model and not visit.is_over for visit in self.visits)

    async def load(self, model_id: str) -> Model:
        waiting = [visit.id for visit in self.visits if visit.model is None and not visit.is_over]
        self.mind(model_id in waiting, f"{model_id} is loaded for nobody")
        self.mind(model_id not in self.loading, f"{model_id} is loaded twice at once")
        self.mind(len(self.loading) < self.options.max_parallel_loads, "too many loads at once")
        self.mind(self.loop.time() >= self.not_before.get(model_id, 0), f"{model_id} is loaded again too soon")
        try:
            return await super().load(model_id)
        except Exception:
            self._failed(model_id)
            raise

    def _enter(self, model_id: str) -> None:
        super()._enter(model_id)
        self.mind(self.most_models <= self.options.resident_cap, f"over the cap: {self.floor}")
        self.mind(self.most_bytes <= (self.options.budget_bytes or 0), f"over the budget: {self.floor}")

    async def warm_up(self, model: Model) -> None:
        try:
            await super().warm_up(model)
        except Exception:
            self._failed(model.id)
            raise
        self.failures[model.id] = 0
        self.replaced |= {old for old in self.loaded_at if old.id == model.id}
        self.loaded_at[model] = self.loop.time()

    async def unload(self, model: Model) -> None:
        self.mind(not self.has_users(model), f"{model.id} is unloaded while it is used")
        if self.may_not_leave(model):
            self.mind(model.id not in self.pinned, f"{model.id} is unloaded though it is pinned")
            stayed_s = self.loop.time() - self.loaded_at[model]
            self.mind(stayed_s >= self.options.min_resident_s, f"{model.id} is unloaded after {stayed_s:g} s")
        await super().unload(model)

    def may_not_leave(self, model: Model) -> bool:
        return model in self.used_at and model not in self.replaced and not self.is_closing

    def overstays(self, model: Model) -> bool:
        if model.is_unloaded or model in self.replaced or model.id in self.pinned or self.has_users(model):
            return False
        options = self.options
        due = max(self.used_at[model] + options.ttl_s, self.loaded_at[model] + options.min_resident_s)
        return self.loop.time() >= due

    def _failed(self, model_id: str) -> None:
        pause_s = min(self.options.longest_retry_s, self.options.first_retry_s * 2 ** self.failures[model_id])
        self.failures[model_id] += 1
        self.not_before[model_id] = self.loop.time() + pause_s


class ResidencyMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)

    @initialize(
        cap=st.integers(1, 4), budget=st.integers(4, 9), min_s=SECONDS, ttl_s=SECONDS, at_once=st.integers(1, 2)
    )
    def open(self, cap: int, budget: int, min_s: float, ttl_s: float, at_once: int) -> None:
        options = ResidencyOptions(
            resident_cap=cap,
            budget_bytes=budget,
            min_resident_s=min_s,
            ttl_s=ttl_s,
            max_parallel_loads=at_once,
            max_waiting=5,
            load_timeout_s=40,
            longest_retry_s=8,
        )
        self.house = Watched(options, self.loop)
        self.models = Residency(self.house, options, self.loop.time)
        self.loop.set_exception_handler(lambda _, context: self.house.wrong.append(str(context)))

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def and_settle() -> Any:
            result = await work
            await settled()
            return result

        return self.runner.run(and_settle())

    def begin(self, visit: Visit, work: Coroutine[Any, Any, None]) -> None:
        async def go() -> None:
            visit.task = asyncio.create_task(self.answered(visit, work))

        self.house.visits.append(visit)
        self.run(go())

    async def answered(self, visit: Visit, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except AntiphonError as refused:
            self.house.mind(len(str(refused).splitlines()) == 1, f"not a sentence: {refused}")
        finally:
            visit.is_over = True

    async def use(self, visit: Visit, wait_s: float) -> None:
        async with self.models.use(visit.id, wait_s=wait_s) as model:
            visit.model = model
            house = self.house
            house.mind(model.id == visit.id and model.is_warm and not model.is_unloaded, f"{visit.id} is not usable")
            house.used_at[model] = self.loop.time()
            try:
                await visit.leave.wait()
                house.mind(not model.is_unloaded, f"{visit.id} was taken away")
            finally:
                house.used_at[model] = self.loop.time()

    # --- what can happen

    @rule(id=IDS, wait_s=SECONDS)
    def somebody_comes(self, id: str, wait_s: float) -> None:
        visit = Visit(id, self.loop.time() + wait_s)
        self.begin(visit, self.use(visit, wait_s))

    @rule(id=IDS, wait_s=SECONDS)
    def somebody_has_it_replaced(self, id: str, wait_s: float) -> None:
        visit = Visit(id, self.loop.time() + 2 * wait_s)  # for the load under way, and for its own
        self.begin(visit, self.models.replace(id, wait_s=wait_s))

    @rule(id=IDS, wait_s=SECONDS)
    def somebody_has_it_unloaded(self, id: str, wait_s: float) -> None:
        visit = Visit(id, self.loop.time() + (wait_s or self.house.options.unload_timeout_s))
        house = self.house
        if id not in house.pinned and id not in house.loading:
            idle = (model for model in house.loaded_at if model.id == id and (wait_s or not house.has_users(model)))
            house.replaced |= set(idle)
        self.begin(visit, self.models.unload(id, wait_s=wait_s))

    @precondition(lambda self: any(visit.model and not visit.is_over for visit in self.house.visits))
    @rule(which=ANY)
    def somebody_leaves(self, which: int) -> None:
        using = [visit for visit in self.house.visits if visit.model and not visit.is_over]
        using[which % len(using)].leave.set()
        self.run(settled())

    @precondition(lambda self: any(not visit.is_over for visit in self.house.visits))
    @rule(which=ANY)
    def somebody_is_cancelled(self, which: int) -> None:
        there = [visit for visit in self.house.visits if not visit.is_over]
        task = there[which % len(there)].task
        assert task is not None
        task.cancel()
        self.run(settled())

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(id=IDS, is_broken=st.booleans(), is_cold=st.booleans())
    def a_model_breaks_or_is_mended(self, id: str, is_broken: bool, is_cold: bool) -> None:
        self.house.broken = {other: text for other, text in self.house.broken.items() if other != id}
        self.house.cold -= {id}
        if is_broken:
            self.house.broken[id] = "broken\nreally"
        if is_cold:
            self.house.cold.add(id)

    @rule(load_s=SECONDS, unload_s=SECONDS)
    def the_disk_is_as_slow_as_this(self, load_s: float, unload_s: float) -> None:
        self.house.load_s, self.house.unload_s = load_s, min(unload_s, 16)

    @rule(id=IDS)
    def a_model_is_pinned(self, id: str) -> None:
        self.house.pinned.add(id)
        self.models.pin(id)

    @rule(id=IDS)
    def a_model_is_unpinned(self, id: str) -> None:
        async def unpin() -> None:
            self.models.unpin(id)

        self.house.pinned.discard(id)
        self.run(unpin())

    # --- what must hold

    @invariant()
    def nothing_was_wrong(self) -> None:
        assert self.house.wrong == []

    @invariant()
    def everybody_is_answered_in_time(self) -> None:
        waiting = [visit for visit in self.house.visits if not visit.is_over and not visit.model]
        assert not [visit.id for visit in waiting if visit.answered_by <= self.loop.time()]

    @invariant()
    def nothing_overstays(self) -> None:
        assert not [model.id for model in self.house.used_at if self.house.overstays(model)]

    @invariant()
    def the_snapshot_tells_the_truth(self) -> None:
        states = [status.state for status in self.models.snapshot()]
        in_memory = [s for s in states if s in ("loading", "resident", "draining", "unloading", "abandoned")]
        assert len(in_memory) == len(self.house.floor)
        assert all(status.users >= 0 for status in self.models.snapshot())

    def teardown(self) -> None:
        with self.runner:
            self.everything_ends_well()

    def everything_ends_well(self) -> None:
        self.house.is_closing = True
        for visit in self.house.visits:
            visit.leave.set()
        assert self.run(self.models.close(deadline_s=300)) == ()
        self.nothing_was_wrong()
        assert self.house.floor == []
        assert all(visit.is_over for visit in self.house.visits)
        assert not asyncio.all_tasks(self.loop)


TestResidency = ResidencyMachine.TestCase
TestResidency.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
