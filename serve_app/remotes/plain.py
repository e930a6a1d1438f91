"""A deployment behind its handle, asked once."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from cluster.router_refusal import NoReplicaFree
from deployments.errors import AntiphonError, AtCapacity, ModelFailed


def translated(error: Exception, deployment: str) -> AntiphonError:
    """What went wrong on the other side of a handle, in the words of `deployments.errors`."""
    cause = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(cause, AntiphonError):
        return cause
    if isinstance(error, NoReplicaFree):
        return AtCapacity(error.reason)
    if isinstance(error, BackPressureError):
        return AtCapacity(f"{deployment} has too many requests waiting")
    if isinstance(error, RayActorError):
        return ModelFailed(f"a replica of {deployment} died")
    if isinstance(error, RequestCancelledError):
        return ModelFailed(f"{deployment} dropped the request")
    return ModelFailed(f"{deployment} failed: {type(cause).__name__}: {cause}")


def end(response: Any) -> None:
    """Cancel it, if it has not ended. Serve raises here what it had refused the request for, a second time."""
    with suppress(Exception):
        response.cancel()


class Remote:
    """`_by_reference=False` sends by gRPC, whatever the cluster's default is: over the other transport, the streams of
    a caller whose process died would run on for ever."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self.name = handle.deployment_name
        self._unary = handle.options(_by_reference=False)
        self._streaming = handle.options(_by_reference=False, stream=True)

    async def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """One answer. Cancelling cancels it in the replica."""
        response = self._send(self._unary, method, args, kwargs)
        try:
            return await response
        except Exception as error:
            raise translated(error, self.name) from error
        finally:
            end(response)

    async def stream(self, method: str, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """A stream of items. Closing it, or cancelling whoever reads, stops the replica's generator: dropping the
        stream alone would not."""
        response = self._send(self._streaming, method, args, kwargs)
        try:
            async for item in response:
                yield item
        except Exception as error:
            raise translated(error, self.name) from error
        finally:
            end(response)

    def _send(self, handle: DeploymentHandle[Any], method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The response. `cluster.router` goes by the voice that is wanted, and by the conversation."""
        towards = handle.options(
            method_name=method,
            multiplexed_model_id=kwargs.get("voice") or "",
            session_id=kwargs.get("session_id") or "",
        )
        return towards.remote(*args, **kwargs)
