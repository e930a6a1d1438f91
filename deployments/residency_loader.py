"""What `residency` can keep in memory, and how it gets there."""

import asyncio
import logging
from typing import Protocol, TypeVar

from deployments.options import ResidencyOptions

T = TypeVar("T")  # a loaded model

log = logging.getLogger("antiphon.deployments")


class Loader(Protocol[T]):
    """What can be loaded, and how."""

    def size_bytes(self, model_id: str) -> int:
        """What it will take in memory. Raises BadModel for an id that is not known."""
        ...

    async def load(self, model_id: str) -> T:
        """Cancelled, it ends only when nothing of the model is in memory any more."""
        ...

    async def warm_up(self, model: T) -> None:
        """Run it once, so that the first user finds it as fast as the second. One that fails here is unloaded again."""
        ...

    async def unload(self, model: T) -> None: ...


async def take_out(loader: Loader[T], model_id: str, model: T, options: ResidencyOptions) -> None:
    """Unload it. What goes wrong is logged: nobody can do more than go on as if it were gone."""
    try:
        async with asyncio.timeout(options.unload_timeout_s):
            await loader.unload(model)
    except Exception as broken:
        log.error("%s did not leave memory as it should: %s", model_id, one_line(broken))


def one_line(error: BaseException) -> str:
    """What went wrong, fit for a message."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
