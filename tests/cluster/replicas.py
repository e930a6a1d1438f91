"""Replicas without models, which are told what to do."""

import asyncio
import os
from typing import Any

from ray import serve

from cluster.own_replica import own_id


class Replica:
    """Remembers the models that it was asked for, as one with residency does."""

    def __init__(self) -> None:
        self._models: list[str] = []

    async def record_routing_stats(self) -> dict[str, Any]:
        return {"resident": self._models[-3:], "room": max(0, 3 - len(self._models)), "load_s": 0.5, "unit_s": 0.01}

    async def who(self, urgency: object = None) -> str:
        """This replica's id."""
        if (key := serve.get_multiplexed_model_id()) and key not in self._models:
            self._models.append(key)
        return own_id()

    async def hold(self) -> None:
        """Until cancelled."""
        await asyncio.Event().wait()

    async def die(self) -> None:
        os._exit(1)
