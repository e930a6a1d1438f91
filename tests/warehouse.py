"""What the tests of residency load: a store of models that takes the time it is told, and watches over its floor."""

import asyncio
from collections import Counter
from collections.abc import Mapping

from deployments.errors import BadModel
from deployments.options import ResidencyOptions
from deployments.residency import Residency


class Model:
    """One copy, as it comes from the shelf."""

    def __init__(self, id: str, serial: int) -> None:
        self.id = id
        self.serial = serial
        self.is_warm = False
        self.is_unloaded = False


class Warehouse:
    """A `Loader`. `floor`: what takes memory, from the first moment of its load to the last of its unload."""

    def __init__(self, sizes: Mapping[str, int], load_s: float = 1.0, unload_s: float = 0.5) -> None:
        self.sizes, self.load_s, self.unload_s = dict(sizes), load_s, unload_s
        self.broken: dict[str, str] = {}  # id: what its load says
        self.cold: set[str] = set()  # they cannot be warmed up
        self.floor: list[str] = []
        self.most_models, self.most_bytes = 0, 0
        self.loading: list[str] = []
        self.loads: Counter[str] = Counter()  # begun
        self.cancelled: list[str] = []
        self.unloaded: list[Model] = []

    def size_bytes(self, model_id: str) -> int:
        if model_id not in self.sizes:
            raise BadModel(f"no model is called {model_id!r}")
        return self.sizes[model_id]

    async def load(self, model_id: str) -> Model:
        assert model_id not in self.loading, "loaded twice at once"
        self.loads[model_id] += 1
        self.loading.append(model_id)
        self._enter(model_id)
        try:
            await asyncio.sleep(self.load_s)
            if model_id in self.broken:
                raise BadModel(self.broken[model_id])
        except BaseException as why:
            if isinstance(why, asyncio.CancelledError):
                self.cancelled.append(model_id)
            self.floor.remove(model_id)
            raise
        finally:
            self.loading.remove(model_id)
        return Model(model_id, self.loads[model_id])

    async def warm_up(self, model: Model) -> None:
        await asyncio.sleep(0)
        if model.id in self.cold:
            raise BadModel(f"{model.id} says nothing")
        model.is_warm = True

    async def unload(self, model: Model) -> None:
        assert not model.is_unloaded
        model.is_unloaded = True
        self.unloaded.append(model)
        await asyncio.sleep(self.unload_s)
        self.floor.remove(model.id)

    def _enter(self, model_id: str) -> None:
        self.floor.append(model_id)
        self.most_models = max(self.most_models, len(self.floor))
        self.most_bytes = max(self.most_bytes, sum(self.sizes[id] for id in self.floor))


def residency(loader: Warehouse, **options: object) -> Residency[Model]:
    """On the clock of the running loop, which is virtual in tests."""
    return Residency(loader, ResidencyOptions.model_validate(options), asyncio.get_running_loop().time)
