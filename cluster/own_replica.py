"""What a replica can learn about itself from Serve: who it is, and when it is to go."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ray import serve
from ray.serve._private.client import ServeControllerClient
from ray.serve._private.long_poll import LongPollClient, LongPollNamespace
from ray.serve.context import _get_global_client
from ray.serve.handle import DeploymentHandle

log = logging.getLogger("antiphon.cluster")


def own_id() -> str:
    """The id of the replica that this is called in, unique in the cluster."""
    return str(serve.get_replica_context().replica_id.unique_id)


def own_handle() -> DeploymentHandle[Any]:
    """To all replicas of the deployment that this is called in."""
    context = serve.get_replica_context()
    return serve.get_deployment_handle(context.deployment, context.app_name)


class OwnEnd:
    """Calls `leaving` once, on this event loop, when Serve takes this replica out of service: on a redeploy, a
    scale-down or a deletion.

    Serve tells everybody who routes to a deployment which replicas serve it, by the same long poll that is used
    here; to the replica itself it says nothing before its last request has ended, which for calls is too late to
    stop taking new ones. There is no public interface for it.
    """

    def __init__(self, leaving: Callable[[], None]) -> None:
        context = serve.get_replica_context()
        self._own = context.replica_id
        self._leaving = leaving
        self._served = False
        client = _get_global_client()
        assert isinstance(client, ServeControllerClient)
        self._poll = LongPollClient(
            client._controller,
            {(LongPollNamespace.DEPLOYMENT_TARGETS, self._own.deployment_id): self._take},  # type: ignore[dict-item]
            call_in_event_loop=asyncio.get_running_loop(),
            client_id=f"own-end:{self._own.unique_id}",
        )

    def _take(self, targets: Any) -> None:
        """`targets`: the replicas that requests may go to."""
        serving = {replica.replica_id for replica in targets.running_replicas}
        if self._own in serving:
            self._served = True
        elif self._served or not targets.is_available:
            self._poll.stop()
            self._served = False
            log.info("this replica is out of service: it takes no new calls")
            self._leaving()

    def stop(self) -> None:
        """Ask no more."""
        self._poll.stop()
