"""The voice models of one replica: the default one is always in memory, the others while they are used."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from deployments.contracts import Engine, Tts
from deployments.errors import BadRequest
from deployments.residency import Residency
from deployments.residency_status import ModelStatus
from deployments.status import Order
from deployments.store import ModelSpec, Store
from deployments.tts.options import TtsOptions


class TtsEngine(Tts, Engine, Protocol):
    """What a TTS engine has to offer. `speak` gets requests that the deployment has checked.

    Its class has, besides `load`, `voices_of(files, options)`: the voices of a model, read without loading it.
    """


class VoiceModels:
    """Finds the model of a voice, and has it in memory for as long as somebody speaks with it."""

    def __init__(
        self, engine: Any, default: TtsEngine, options: TtsOptions, specs: Mapping[str, ModelSpec], store: Store
    ) -> None:
        """`engine`: the class. `specs`: the models by id; files of those in `more_models` are fetched here.

        Raises BadModel for a model that cannot be had, AtCapacity where the budget is too small for what is loaded at
        once.
        """
        loader = EngineLoader(engine, options, specs, store)
        self._default = options.model
        self._models = dict.fromkeys(default.capabilities().voices, options.model)
        for model_id in options.more_models:
            self._models |= dict.fromkeys(loader.voices_of(model_id), model_id)
        self.names = tuple(self._models)
        self._residency: Residency[TtsEngine] = Residency(loader, options.residency)
        self._residency.adopt(options.model, default)
        for model_id in dict.fromkeys(options.preload):
            self._residency.adopt(model_id, loader.load_now(model_id), pin=False)

    def use(self, voice: str) -> AbstractAsyncContextManager[TtsEngine]:
        """See `Residency.use`. `voice` must be one of `names`."""
        return self._residency.use(self._models[voice])

    def model_of(self, voice: str) -> str:
        return self._models[voice]

    def models(self) -> tuple[ModelStatus, ...]:
        return self._residency.snapshot()

    async def carry_out(self, order: Order, model: str, wait_s: float) -> None:
        """See `Residency`. Raises BadRequest for a model that is not one of ours, and for the default one's end."""
        if model not in self._models.values():
            known = ", ".join(dict.fromkeys(self._models.values()))
            raise BadRequest(f"{model!r} is no model of this deployment; there are {known}", field="model")
        if order in ("unload", "unpin") and model == self._default:
            raise BadRequest(f"{model} is always in memory: it is the default one", field="model")
        match order:
            case "load":
                await self._residency.preload(model, wait_s=wait_s or None)
            case "unload":
                await self._residency.unload(model, wait_s=wait_s)
            case "replace":
                await self._residency.replace(model, wait_s=wait_s or None)
            case "pin":
                await self._residency.preload(model, wait_s=wait_s or None)
                self._residency.pin(model)
            case "unpin":
                self._residency.unpin(model)

    def routing_stats(self) -> dict[str, Any]:
        return self._residency.routing_stats() | self._residency.room_stats()


class EngineLoader:
    """What `Residency` loads: engines of one class, each with a model. They are as large as their files."""

    def __init__(self, engine: Any, options: TtsOptions, specs: Mapping[str, ModelSpec], store: Store) -> None:
        self._engine = engine
        self._options = options
        self._sizes = {model_id: spec.size_bytes for model_id, spec in specs.items()}
        self._files = {id: store.fetch(spec) for id, spec in specs.items()}

    def voices_of(self, model_id: str) -> tuple[str, ...]:
        voices: tuple[str, ...] = self._engine.voices_of(self._files.get(model_id), self._own_options(model_id))
        return voices

    def size_bytes(self, model_id: str) -> int:
        return self._sizes.get(model_id, 0)  # an engine without weights

    async def load(self, model_id: str) -> TtsEngine:
        """In a thread, which cannot be stopped: cancelled, it waits for the engine and unloads it."""
        loading = asyncio.ensure_future(asyncio.to_thread(self.load_now, model_id))
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            await asyncio.wait([loading])
            if not loading.exception():
                await loading.result().unload()
            raise

    async def warm_up(self, model: TtsEngine) -> None:
        """Loading an engine does it."""

    async def unload(self, model: TtsEngine) -> None:
        await model.unload()

    def load_now(self, model_id: str) -> TtsEngine:
        """Blocks until it is warm."""
        engine: TtsEngine = self._engine.load(self._files.get(model_id), self._own_options(model_id))
        return engine

    def _own_options(self, model_id: str) -> TtsOptions:
        return self._options.model_copy(update={"model": model_id})
