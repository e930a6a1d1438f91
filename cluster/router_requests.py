"""How requests wait for a replica: each for its own, not for ever, and without asking over and over.

Serve's own base class finds the request that a choice was made for by an id that all calls made for one parent request
share: several at once hang. Its FIFO mixin gives the choice to whoever waits for longest, which is as good as no choice
where replicas differ.
"""

import asyncio
import time
from contextlib import suppress
from typing import Any

from ray.serve._private.common import RequestMetadata
from ray.serve.request_router import PendingRequest, ReplicaID, RequestRouter, RunningReplica

from cluster.router_refusal import NoReplicaFree

WAIT_S = 5.0


class PatientRouter(RequestRouter):
    """A request gets the replica that was chosen for it, or is refused in time. One that ends wakes those who
    wait."""

    wait_s = WAIT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._awaiting: dict[int, PendingRequest] = {}  # by their metadata, which each has for itself
        self._place_freed: asyncio.Event | None = None  # while somebody waits for it

    def patience_s(self, pending: PendingRequest) -> float:
        """How long this request may wait."""
        return self.wait_s

    def taken(self, pending: PendingRequest, replica: ReplicaID) -> None:
        """The request goes there. `on_request_completed` follows, whatever becomes of it."""

    async def _choose_replica_for_request(
        self, pending_request: PendingRequest, *, is_retry: bool = False
    ) -> RunningReplica:
        patience_s = self.patience_s(pending_request)
        left_s = min(patience_s, max(0.0, pending_request.created_at + patience_s - time.time()))
        deadline = self._event_loop.call_later(left_s, self._refuse, pending_request, patience_s)
        try:
            chosen: RunningReplica = await super()._choose_replica_for_request(pending_request, is_retry=is_retry)
            return chosen
        except asyncio.CancelledError:
            self._give_back(pending_request)
            raise
        finally:
            deadline.cancel()

    def _fulfill_next_pending_request(
        self, replica: RunningReplica, request_metadata: RequestMetadata | None = None
    ) -> None:
        pending = self._awaiting.get(id(request_metadata))
        if pending is None or pending.future.done():
            return
        self._record_queue_wait_time(pending)
        self.taken(pending, replica.replica_id)
        pending.future.set_result(replica)
        self._remove_pending_request_from_indices(pending)

    def _add_pending_request_to_indices(self, pending_request: PendingRequest) -> None:
        self._awaiting[id(pending_request.metadata)] = pending_request

    def _remove_pending_request_from_indices(self, pending_request: PendingRequest) -> None:
        self._awaiting.pop(id(pending_request.metadata), None)

    def _refuse(self, pending: PendingRequest, after_s: float) -> None:
        if pending.future.done():
            return
        pending.future.set_exception(NoReplicaFree(self._reason(after_s), len(self._awaiting)))
        self._cancel_routing_task_for_pending_request(pending)
        self._remove_pending_request_from_indices(pending)

    def _reason(self, after_s: float) -> str:
        if not self._replicas:
            return f"{self._deployment_id.name} has no replica, and got none within {after_s:.2g} s"
        return f"all {len(self._replicas)} replicas of {self._deployment_id.name} are busy for {after_s:.2g} s now"

    def _give_back(self, pending: PendingRequest) -> None:
        """Cancelled after its replica was chosen, and before it was sent: nobody else will say that it has ended."""
        future = pending.future
        if future.done() and not future.cancelled() and not future.exception():
            self.on_request_completed(future.result().replica_id, pending.metadata.internal_request_id)

    # --- those who wait

    async def _backoff(self, attempt: int) -> None:
        """Until a request of ours has ended somewhere, or as long as Serve would wait."""
        if self._place_freed is None:
            self._place_freed = asyncio.Event()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._compute_backoff_s(attempt)):
                await self._place_freed.wait()

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        if self._place_freed is not None:
            self._place_freed.set()
            self._place_freed = None
