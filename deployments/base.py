"""What the model deployments have in common: an engine found by name, loaded before the replica reports ready."""

import asyncio
import importlib
import logging
import os
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import ray

from deployments.contracts import Capabilities, ModelFiles
from deployments.errors import BadModel, ModelFailed
from deployments.logs import configure_logs
from deployments.options import LogOptions, ModelOptions
from deployments.store import ModelSpec, Store, StoreOptions

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


@dataclass(frozen=True, slots=True)
class Place:
    """Of a replica: Ray's id of its node, the indices of its GPUs there, and what the driver lets it see of them."""

    node_id: str
    gpus: tuple[str, ...]
    visible_devices: str | None


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
        self.engine: E = self._load(options, model, store)
        log.info("%s is resident after %.1f s", options.model, time.monotonic() - started)

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

    async def place(self) -> Place:
        """Where this replica runs."""
        context = ray.get_runtime_context()
        gpus = tuple(str(each) for each in context.get_accelerator_ids().get("GPU", ()))
        return Place(str(context.get_node_id()), gpus, os.environ.get("CUDA_VISIBLE_DEVICES"))

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
