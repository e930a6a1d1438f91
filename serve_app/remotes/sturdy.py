"""A deployment whose replicas may die, fail or freeze: each request is tried once more, on another one.

The second attempt is waited for as long as the turn waits: a third would find what two have found."""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator

from cluster.circuit import CIRCUITS
from cluster.steering import sent_to
from cluster.telemetry import Measure
from deployments.errors import AntiphonError, ModelFailed
from serve_app.call_options import FailureOptions
from serve_app.remotes.pace import Paces
from serve_app.remotes.plain import Remote, end, translated
from serve_app.remotes.request import Request
from serve_app.remotes.watch import Watch

log = logging.getLogger("antiphon.models")

Response = DeploymentResponse[Any] | DeploymentResponseGenerator[Any]


class Silent(ModelFailed):
    """Nothing came for longer than is usual, while another replica could answer."""


class SturdyRemote(Remote):
    """Only for methods that may be called again. An error that is the replica's fault, or silence for longer than is
    usual while another replica could answer, is a failure; the errors of `deployments.errors` that are not are raised.
    Deadlines are the caller's: whoever closes the stream or cancels ends the attempt."""

    def __init__(
        self,
        handle: DeploymentHandle[Any],
        options: FailureOptions | None = None,
        report: Callable[[Measure], None] = lambda measure: None,
    ) -> None:
        super().__init__(handle)
        options = options or FailureOptions()
        self._paces = Paces(options)
        self._longest_s = options.longest_stall_ms / 1000
        self._heard_s: dict[str, float] = {}
        """Replica -> when it last gave something to anybody of this process, on the loop's clock."""
        self._report = report

    async def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return await self.answer(Request(method, args, kwargs))

    async def answer(self, request: Request) -> Any:
        """One answer. Cancelling cancels it in the replica."""
        try:
            return await self._answer_once(request, last=False)
        except ModelFailed as failed:
            self._note(failed)
        return await self._answer_once(request.again(), last=True)

    async def items(self, ask: Callable[[], Request | None]) -> AsyncGenerator[Any, None]:
        """A stream. `ask` gives the request, and after a failure the one for the rest; None: there is none. Closing it,
        or cancelling whoever reads, stops the replica's generator."""
        for last in (False, True):
            if (request := ask()) is None:
                return
            async with aclosing(self._items_once(request.again() if last else request, last=last)) as items:
                try:
                    async for item in items:
                        yield item
                    return
                except ModelFailed as failed:
                    if last:
                        raise
                    self._note(failed)

    def _note(self, failed: ModelFailed) -> None:
        log.warning("%s: %s is asked again", failed, self.name)
        why = "silent" if isinstance(failed, Silent) else "failed"
        self._report(Measure("antiphon_requests_repeated", tags={"model": self.name, "why": why}))

    async def _answer_once(self, request: Request, *, last: bool) -> Any:
        response = self._send(self._unary, request.method, request.args, request.told)
        watch = self._watch(response, request, last)
        try:
            watch.begin()
            answer = await response
            self._answered(response, request, watch.end())
            return answer
        except Exception as error:
            raise self._blamed(response, watch, error) from error
        finally:
            watch.stop()
            end(response)

    async def _items_once(self, request: Request, *, last: bool) -> AsyncGenerator[Any, None]:
        response = self._send(self._streaming, request.method, request.args, request.told)
        watch = self._watch(response, request, last)
        longest_s: float | None = None
        try:
            while True:
                watch.begin()
                try:
                    item = await anext(response)
                except StopAsyncIteration:
                    return
                waited_s = watch.end()
                if longest_s is None:
                    longest_s = 0.0
                    self._answered(response, request, waited_s)
                    watch.limit(self._paces.limit_s((request.method, "next")))
                else:
                    self._alive(response)
                    longest_s = max(longest_s, waited_s)
                yield item
        except Exception as error:
            raise self._blamed(response, watch, error) from error
        finally:
            watch.stop()
            end(response)
            if longest_s:
                self._paces.took((request.method, "next"), longest_s)

    def _watch(self, response: Response, request: Request, last: bool) -> Watch:
        def patience_s(began_s: float, limit_s: float) -> float:
            return limit_s if last else self._patience_s(response, began_s, limit_s)

        watch = Watch(lambda: end(response), patience_s)
        watch.limit(self._paces.limit_s(request.pace))
        return watch

    def _patience_s(self, response: Response, began_s: float, limit_s: float) -> float:
        """For how much longer nobody else would be sooner. Where the request has not been sent, all are busy; where the
        replica has just given something to others, it is not frozen, and ours has its turn."""
        replica = sent_to(response)
        if replica is None or not CIRCUITS.another(self.name, replica):
            return limit_s
        heard_s = self._heard_s.get(replica, -math.inf)
        return min(heard_s + limit_s, began_s + self._longest_s) - self._loop_s()

    def _answered(self, response: Response, request: Request, took_s: float) -> None:
        self._paces.took(request.pace, took_s)
        if (replica := self._alive(response)) is not None:
            CIRCUITS.answered(replica)

    def _alive(self, response: Response) -> str | None:
        if (replica := sent_to(response)) is not None:
            self._heard_s[replica] = self._loop_s()
        return replica

    @staticmethod
    def _loop_s() -> float:
        return asyncio.get_running_loop().time()

    def _blamed(self, response: Response, watch: Watch, error: Exception) -> AntiphonError:
        """What went wrong, with its replica's circuit opened where that is to blame."""
        failed = translated(error, self.name)
        if watch.expired:
            failed = Silent(f"a replica of {self.name} was silent for {watch.limit_s:.2g} s")
        if isinstance(failed, ModelFailed) and (replica := sent_to(response)) is not None:
            CIRCUITS.failed(replica)
        return failed
