"""What was asked on speculation is wanted now: the replicas that it waits in are told.

Otherwise whoever was early would wait behind all who ask only now: in a simulation of a model that is busy four fifths
of the time (`tests/test_promotion.py`), the slowest tenth of first phrases waits for .82 s and more, and .25 s with it.
To let speculation wait as if it were wanted needs no telling, but later phrases then wait for 2.2 s instead of .75,
behind answers that nobody will hear.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.store import Kind

log = logging.getLogger("antiphon.call")

LIMIT_S = 1.0
"""Later it is of no use: the request has begun, or the replica has other troubles."""


class Promoter:
    """Of one process. Nobody waits for what it sends; it is sent only for a request of which nothing has come yet.

    All replicas are told. Which one has the request is known where it was sent (`cluster.steering.sent_to`), but a
    handle sends to whichever replica its router chooses, or to all: to name one would need a second way through the
    router, past its count of places, for who is promoted waits where none is free. A message is small and is ignored
    where no such request waits.
    """

    def __init__(self, handles: Mapping[str, tuple[Kind, DeploymentHandle[Any]]]) -> None:
        """By the names of their deployments."""
        self._handles = handles
        self._telling: set[asyncio.Task[None]] = set()

    def promote(self, kind: Kind, call: str) -> None:
        """The requests of `call` that wait for a model of this kind."""
        for name, (its_kind, handle) in self._handles.items():
            if its_kind == kind:
                task = asyncio.create_task(_tell(name, handle, call))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)


async def _tell(name: str, handle: DeploymentHandle[Any], call: str) -> None:
    try:
        await handle.broadcast("promote", call).results_async(timeout_s=LIMIT_S, return_exceptions=True)
    except Exception as failed:  # whatever it is, the request only waits a little longer
        log.warning("%s could not be told that a request has become urgent: %s", name, failed)
