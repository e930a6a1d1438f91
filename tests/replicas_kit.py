"""For the tests of remotes: a deployment whose replicas are engines in this process, and get into trouble as told.

Stands in for Ray's handle: it routes as `cluster.steering` does, and its responses are used as Ray's are.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ray.exceptions import ActorUnavailableError
from ray.serve.exceptions import RequestCancelledError

from cluster.circuit import CIRCUITS
from cluster.steering import SENT_TO
from deployments.urgency import Urgency

DIES = ActorUnavailableError("dead", b"0" * 16)
FREEZES = None


@dataclass(frozen=True)
class Trouble:
    """After so many items a request ends with this error, or never: FREEZES. `request`: the how-manieth that the
    replica gets, or every one."""

    error: Exception | None
    after: int = 0
    request: int | None = None


@dataclass
class Replica:
    name: str
    engine: Any
    trouble: Trouble | None = None
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=list)
    urgencies: list[Urgency | None] = field(default_factory=list)
    open: int = 0
    """Requests that it works on."""

    def trouble_now(self) -> Trouble | None:
        trouble = self.trouble
        return trouble if trouble and trouble.request in (None, len(self.asked)) else None


class Response:
    """One request, unary or streamed, under way at a replica."""

    def __init__(
        self, replica: Replica, method: Callable[..., Any], args: tuple[Any, ...], how: dict[str, Any]
    ) -> None:
        urgency = how.pop("urgency", None)  # deployments take it, engines never see it
        replica.urgencies.append(urgency)
        replica.asked.append((args, how))
        replica.open += 1
        self._request_metadata = SimpleNamespace(**{SENT_TO: replica.name})
        self._replica, self._trouble = replica, replica.trouble_now()
        self._answering = method(*args, **how)
        self._given = 0
        self._cancelled = asyncio.Event()
        self.cancelled = False
        self._item: asyncio.Future[Any] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def __anext__(self) -> Any:
        await self._suffer()
        self._given += 1
        self._item = asyncio.ensure_future(anext(self._answering))
        try:
            return await self._item
        except asyncio.CancelledError:
            if self.cancelled:
                raise RequestCancelledError("cancelled") from None
            raise

    def __await__(self) -> Any:
        return self._whole().__await__()

    async def _whole(self) -> Any:
        try:
            await self._suffer()
        except BaseException:
            self._answering.close()
            raise
        return await self._answering

    async def _suffer(self) -> None:
        if self._trouble is None or self._given < self._trouble.after:
            return
        if self._trouble.error is not None:
            raise self._trouble.error
        await self._cancelled.wait()
        raise RequestCancelledError("cancelled")

    def cancel(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self._replica.open -= 1
            self._cancelled.set()
            if self._item is not None:
                self._item.cancel()
            if hasattr(self._answering, "aclose") and (self._item is None or self._item.done()):
                self._closing = asyncio.get_running_loop().create_task(self._answering.aclose())


@dataclass(frozen=True)
class Handle:
    """Asks the first replica that is sound, as long as it has no trouble of its own."""

    deployment_name: str
    replicas: list[Replica]
    method: str = ""

    def options(self, method_name: str = "", **options: Any) -> "Handle":
        return type(self)(self.deployment_name, self.replicas, method_name)

    def remote(self, *args: Any, **how: Any) -> Response:
        sound = [each for each in self.replicas if CIRCUITS.sound(each.name)] or self.replicas
        CIRCUITS.sent(sound[0].name)
        return Response(sound[0], getattr(sound[0].engine, self.method), args, how)


def deployment(name: str, *replicas: Replica) -> Any:
    """A handle of these, which all are sound."""
    CIRCUITS.present(name, [])
    CIRCUITS.present(name, [each.name for each in replicas])
    return Handle(name, list(replicas))
