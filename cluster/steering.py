"""Request routers that keep away from replicas in trouble, and tell the caller which replica a request went to."""

from collections.abc import Sequence
from typing import Any

from ray.serve._private.common import RunningReplicaInfo
from ray.serve._private.replica_result import ReplicaResult
from ray.serve.handle import DeploymentResponse, DeploymentResponseGenerator
from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

from cluster.circuit import CIRCUITS

SENT_TO = "antiphon_sent_to"


def sent_to(response: DeploymentResponse[Any] | DeploymentResponseGenerator[Any]) -> str | None:
    """The replica that a request went to; None: to none yet, or its router does not say. A frozen replica never
    accepts what it was sent, so Serve itself would not know."""
    return getattr(response._request_metadata, SENT_TO, None)


def replica_name(replica: RunningReplica) -> str:
    """As circuits know it."""
    return str(replica.replica_id.unique_id)


class ToldReplica(RunningReplica):
    """Tells circuits and callers what is sent to it. The request's metadata is the object that the response has."""

    def try_send_request(self, pr: PendingRequest, with_rejection: bool) -> ReplicaResult:
        result = super().try_send_request(pr, with_rejection)
        name = replica_name(self)
        setattr(pr.metadata, SENT_TO, name)
        if with_rejection:  # else it is told to all, nobody says what became of it, and it must not pass for the trial
            CIRCUITS.sent(name)
        return result


class Steering(RequestRouter):
    """To be inherited before the router that chooses, whose `choose_replicas` is to return what `steered` leaves."""

    def create_replica_wrapper(self, replica_info: RunningReplicaInfo) -> RunningReplica:
        return ToldReplica(replica_info)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        CIRCUITS.present(self._deployment_id.name, [replica_name(replica) for replica in replicas])
        super().update_replicas(replicas)


def steered(ranks: Sequence[Sequence[RunningReplica]], every: Sequence[RunningReplica]) -> list[list[RunningReplica]]:
    """The ranks without replicas in trouble. Where nothing is left, all of `every` that are sound; where there are
    none, the ranks as they were."""
    if all(CIRCUITS.sound(replica_name(replica)) for rank in ranks for replica in rank):
        return [list(rank) for rank in ranks]
    sound = [[replica for replica in rank if CIRCUITS.sound(replica_name(replica))] for rank in ranks]
    if any(sound):
        return [rank for rank in sound if rank]
    others = [replica for replica in every if CIRCUITS.sound(replica_name(replica))]
    return [others] if others else [list(rank) for rank in ranks]
