"""What the model deployments have in common: an engine found by name, loaded before the replica reports ready."""

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from cluster.autoscaling import BUSY_S
from cluster.own_replica import own_id
from deployments.backlog import Backlog
from deployments.contracts import Capabilities, ModelFiles
from deployments.errors import AntiphonError, BadModel, BadRequest, ModelFailed
from deployments.logs import configure_logs
from deployments.options import LogOptions, ModelOptions
from deployments.queue import DeviceQueue, Place
from deployments.queue_metrics import metering
from deployments.residency_book import State
from deployments.residency_status import ModelStatus
from deployments.status import Managed, Order, ReplicaStatus, own_place
from deployments.store import ModelSpec, Store, StoreOptions
from deployments.urgency import Urgency, current_urgency
from deployments.work import WorkMeter

E = TypeVar("E")  # the kind's engine
T = TypeVar("T")

log = logging.getLogger("antiphon.deployments")


def engine_class(engines: Mapping[str, str], name: str) -> Any:
    """The class behind an engine's name. `engines` maps names to "module:Class", imported only when used."""
    module, _, attribute = engines[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as missing:
        raise BadModel(f"engine {name!r} needs the package {missing.name!r}: pip install 'antiphon[cpu]'") from missing


class ModelDeployment(Generic[E]):
    """Base of the deployments: one engine per replica.

    An engine class has `load(files: ModelFiles | None, options) -> engine`, a blocking class method that also runs
    the engine once, so that the first caller finds it warm. `files` is None for engines without weights.
    """

    engines: Mapping[str, str]

    def __init__(
        self, options: ModelOptions, model: ModelSpec | None, store: StoreOptions, logs: LogOptions | None = None
    ) -> None:
        configure_logs(logs or LogOptions())
        started = time.monotonic()
        self.options = options
        self.work = WorkMeter()
        self.backlog = Backlog()
        self.engine: E = self._load(options, model, store)
        self.queue = self._new_queue(options)
        log.info("%s is resident after %.1f s", options.model, time.monotonic() - started)

    @staticmethod
    def _new_queue(options: ModelOptions) -> DeviceQueue:
        return DeviceQueue(
            options.model, options.places, options.max_waiting, options.deadline_s, metering(options.model)
        )

    @asynccontextmanager
    async def place(
        self, urgency: Urgency | None, lane: str | None = None, *, units: float = 1.0
    ) -> AsyncIterator[Place]:
        """`DeviceQueue.place`, counted as work. `urgency` None: that of whoever asks in this process. `units`: see
        `deployments.backlog`."""
        with self.backlog.request(units):
            async with self.queue.place(urgency or current_urgency(), lane) as place:
                with self.work.request():
                    yield place

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Asked by Serve several times a second: what `cluster.autoscaling` counts. On the loop, like the requests."""
        return {BUSY_S: self.work.busy_s()}

    async def promote(self, call: str) -> int:
        """Somebody waits for what this call has asked for on speculation. How many requests were waiting."""
        return self.queue.promote(call)

    @classmethod
    def _load(cls, options: Any, model: ModelSpec | None, store: StoreOptions) -> E:
        engine = engine_class(cls.engines, options.engine)
        files: ModelFiles | None = Store(store).fetch(model) if model else None
        loaded: E = engine.load(files, options)
        return loaded

    async def capabilities(self) -> Capabilities:
        """What the resident model can do. It answers as soon as the replica can."""
        result: Capabilities = self.engine.capabilities()  # type: ignore[attr-defined]
        return result

    async def record_routing_stats(self) -> dict[str, Any]:
        """Asked by Serve, for those who route to this replica (`cluster.router_told`)."""
        return self.backlog.routing_stats()

    async def status(self) -> ReplicaStatus:
        """Who this replica is, where it runs, and what it has in memory."""
        capabilities, queue = await self.capabilities(), self.queue.figures()
        return ReplicaStatus(own_id(), own_place(), capabilities, self.models(), self.known_models(), queue)

    def known_models(self) -> tuple[str, ...]:
        """All that this deployment can have in memory."""
        return (self.options.model,)

    def models(self) -> tuple[ModelStatus, ...]:
        """The models in memory: here the one that the deployment is made of."""
        return (ModelStatus(self.options.model, State.RESIDENT, pinned=True, loads=1),)

    async def manage(self, order: Order, model: str, wait_s: float = 0.0) -> Managed:
        """Load, unload, pin or replace a model, as `Residency` does. Refusals are told, not raised: all replicas are
        asked at once, and each answers for itself."""
        refusal: AntiphonError | None = None
        try:
            await self.carry_out(order, model, wait_s)
        except AntiphonError as refused:
            refusal = refused
        return Managed(own_id(), tuple(each for each in self.models() if each.id == model), refusal)

    async def carry_out(self, order: Order, model: str, wait_s: float) -> None:
        """Raises BadRequest for a model that is not this deployment's, and for an order that it cannot obey."""
        if model != self.options.model:
            raise BadRequest(f"{model!r} is no model of this deployment, which has {self.options.model}", field="model")
        if order not in ("load", "pin"):
            raise BadRequest(f"{model} is always in memory: it is what the deployment is made of", field="model")

    async def within_deadline(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The engine's stream, cut at the first item that comes after the deadline. Serve reads a stream to its end
        whether or not the caller does, so a caller who froze does not keep it waiting at a `yield`."""
        deadline_s = asyncio.get_running_loop().time() + self.options.deadline_s
        try:
            while True:
                # around each item, not around the yields: a timeout must not strike while the consumer runs
                async with asyncio.timeout_at(deadline_s):
                    item = await anext(items)
                yield item
        except StopAsyncIteration:
            return
        except TimeoutError as late:
            raise ModelFailed(f"{self.options.model} took longer than {self.options.deadline_s:g} s") from late
        finally:
            await items.aclose()
