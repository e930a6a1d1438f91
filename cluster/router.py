"""The affinity request router: requests go where their model, their conversation and their caller are.

    @serve.deployment(request_router_config=affinity())
    handle.options(multiplexed_model_id=voice, session_id=conversation).speak.remote(…)

What replicas may tell of themselves stands in `router_told`, how one is chosen in `router_choice`. Serve copies this
module by value to where it routes; what it imports is imported there.
"""

import time
from collections.abc import Callable
from typing import Any

from ray._common.utils import import_attr
from ray.serve._private.common import RequestMetadata
from ray.serve.config import RequestRouterConfig
from ray.serve.request_router import PendingRequest, ReplicaID, RunningReplica

from cluster.router_choice import ELSEWHERE_S, SAME_ZONE_S, Costs, Wanted
from cluster.router_fleet import Fleet, Seen
from cluster.router_requests import WAIT_S, PatientRouter
from cluster.router_told import read
from cluster.steering import Steering, steered

PERIOD_S = 0.5
"""Between two questions to a replica. What it does not tell yet, the router remembers (`router_fleet.TRUST_S`)."""

ABSENT_S = 20.0
"""Where there is no replica at all, one is on its way: Serve needs six seconds for a dead one's successor, and a model
has to be loaded. Waiting for that costs nobody else anything; callers have deadlines of their own."""

Units = Callable[[str, list[Any], dict[Any, Any]], float]


def affinity(*, wait_s: float = WAIT_S, units: str = "") -> RequestRouterConfig:
    """For a deployment's `request_router_config`.

    `wait_s`: so long a request waits for a free replica, then it is refused with `NoReplicaFree`; sooner where its
    keyword argument `urgency` has a `wait_s` of its own. `units`: "module:function" of (method, args, kwargs), the work
    in a request, of which `Told.unit_s` tells how long it takes; by default each request is one.
    """
    options: dict[str, Any] = {
        "request_router_class": "cluster.router.AffinityRouter",
        "request_router_kwargs": {"wait_s": wait_s, "units": units},
        "request_routing_stats_period_s": PERIOD_S,
        "request_routing_stats_timeout_s": 10 * PERIOD_S,
    }
    return RequestRouterConfig(**options)


class AffinityRouter(Steering, PatientRouter):
    """There is one for each process that has a handle. All of it runs on the event loop of Serve's routers."""

    def __init__(
        self, *args: Any, self_node_id: str | None = None, self_availability_zone: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._node, self._zone = self_node_id, self_availability_zone
        self._fleet = Fleet[ReplicaID]()
        self._units: Units | None = None

    def initialize_state(  # type: ignore[override]  # the base class takes anything
        self, *, wait_s: float = WAIT_S, units: str = "", load_s: float = 1.0, prefix_s: float = 1.0
    ) -> None:
        """Called by Serve with `request_router_kwargs`. `load_s`, `prefix_s`: what is supposed of replicas that do not
        tell what loading a model takes, and of a conversation's prompt."""
        self.wait_s = wait_s
        self._units = import_attr(units) if units else None
        self._fleet.costs = Costs(load_s=load_s, prefix_s=prefix_s)

    # --- the choice

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """One replica, or others where that one is in trouble; those that might be free, which Serve then asks; or
        none, and Serve tries again later."""
        if pending_request is None:
            return [candidate_replicas]
        pending_request.routing_context.should_backoff = True  # without it Serve tries again at once, for ever
        place = self._fleet.choose(_wanted(pending_request.metadata), time.monotonic())
        if place is not None:
            # Serve would ask a replica of which it has not heard lately; one that is full refuses anyway.
            self._replica_queue_len_cache.update(place.id, place.ongoing)
            return steered([[self._replicas[place.id]]], candidate_replicas)
        unsure = [self._replicas[id] for id in self._fleet.uncertain()]
        return steered([unsure], candidate_replicas) if unsure else []

    def patience_s(self, pending: PendingRequest) -> float:
        own_s = getattr(pending.kwargs.get("urgency"), "wait_s", None)
        wait_s = self.wait_s if self._replicas else max(self.wait_s, ABSENT_S)
        return wait_s if own_s is None else min(wait_s, own_s)

    def taken(self, pending: PendingRequest, replica: ReplicaID) -> None:
        metadata = pending.metadata
        self._fleet.sent(
            replica, metadata.internal_request_id, _wanted(metadata), self._work(pending), time.monotonic()
        )

    def _work(self, pending: PendingRequest) -> float:
        """In units. What a replica will refuse may be of any kind here."""
        if self._units is None:
            return 1.0
        try:
            return self._units(pending.metadata.call_method, pending.args, pending.kwargs)
        except Exception:
            return 1.0

    # --- what is known

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        self._fleet.update([self._seen(replica) for replica in replicas], time.monotonic())
        super().update_replicas(replicas)

    def on_new_queue_len_info(self, replica_id: ReplicaID, num_ongoing_requests: int) -> None:
        super().on_new_queue_len_info(replica_id, num_ongoing_requests)
        self._fleet.counted(replica_id, num_ongoing_requests, time.monotonic())

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        self._fleet.completed(replica_id, internal_request_id)
        super().on_request_completed(replica_id, internal_request_id)

    def on_replica_actor_died(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_died(replica_id)
        self._fleet.drop(replica_id)

    def on_replica_actor_unavailable(self, replica_id: ReplicaID) -> None:
        super().on_replica_actor_unavailable(replica_id)
        self._fleet.doubt(replica_id, time.monotonic())

    def _seen(self, replica: RunningReplica) -> Seen[ReplicaID]:
        return Seen(
            replica.replica_id, replica.max_ongoing_requests, self._distance_s(replica), read(replica.routing_stats)
        )

    def _distance_s(self, replica: RunningReplica) -> float:
        if self._node in (None, replica.node_id):
            return 0.0
        return SAME_ZONE_S if self._zone == replica.availability_zone else ELSEWHERE_S


def _wanted(metadata: RequestMetadata) -> Wanted:
    return Wanted(metadata.multiplexed_model_id, metadata.session_id)
