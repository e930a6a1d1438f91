"""The models behind Ray Serve handles: the contracts, spoken with a deployment."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import BackPressureError, RequestCancelledError
from ray.serve.handle import DeploymentHandle

from cluster.router_refusal import NoReplicaFree
from deployments.contracts import AudioChunk, LlmItem, Message, Pcm, Tool, Transcript
from deployments.errors import AntiphonError, AtCapacity, ModelFailed
from deployments.urgency import current_urgency

T = TypeVar("T")


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


def _towards(handle: DeploymentHandle[Any], method: str, kwargs: Mapping[str, Any]) -> Any:
    """With what `cluster.router` goes by: the voice that is wanted, and the conversation."""
    return handle.options(
        method_name=method,
        multiplexed_model_id=kwargs.get("voice") or "",
        session_id=kwargs.get("session_id") or "",
    )


def _end(response: Any) -> None:
    """Cancel it, if it has not ended. Serve raises here what it had refused the request for, a second time."""
    with suppress(Exception):
        response.cancel()


class Remote:
    """A deployment behind its handle. `_by_reference=False` sends by gRPC, whatever the cluster's default is: over
    the other transport, the streams of a caller whose process died would run on for ever."""

    def __init__(self, handle: DeploymentHandle[Any]) -> None:
        self.name = handle.deployment_name
        self._unary = handle.options(_by_reference=False)
        self._streaming = handle.options(_by_reference=False, stream=True)

    async def ask(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """One answer. Cancelling cancels it in the replica."""
        response = _towards(self._unary, method, kwargs).remote(*args, **kwargs)
        try:
            return await response
        except Exception as error:
            raise translated(error, self.name) from error
        finally:
            _end(response)

    async def stream(self, method: str, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        """A stream of items. Closing it, or cancelling whoever reads, stops the replica's generator: dropping the
        stream alone would not."""
        response = _towards(self._streaming, method, kwargs).remote(*args, **kwargs)
        try:
            async for item in response:
                yield item
        except Exception as error:
            raise translated(error, self.name) from error
        finally:
            _end(response)


class RemoteAsr(Remote):
    async def transcribe(
        self, audio: Pcm, *, language: str | None = None, hint: str = "", hasty: bool = False
    ) -> Transcript:
        transcript: Transcript = await self.ask(
            "transcribe", audio, language=language, hint=hint, hasty=hasty, urgency=current_urgency()
        )
        return transcript


class RemoteLlm(Remote):
    def generate(
        self,
        messages: Sequence[Message],
        *,
        session_id: str,
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
    ) -> AsyncGenerator[LlmItem, None]:
        return self.stream(
            "generate",
            messages,
            session_id=session_id,
            max_tokens=max_tokens,
            temperature=temperature,
            tools=tools,
            tool_choice=tool_choice,
            urgency=current_urgency(),
        )

    async def sentence_end(
        self, messages: Sequence[Message], *, session_id: str, tools: Sequence[Tool] = ()
    ) -> float | None:
        probability: float | None = await self.ask(
            "sentence_end", messages, session_id=session_id, tools=tools, urgency=current_urgency()
        )
        return probability


class RemoteTts(Remote):
    def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[AudioChunk, None]:
        return self.stream("speak", text, voice=voice, speed=speed, urgency=current_urgency())


class RemoteTurn(Remote):
    async def end_of_turn(self, audio: Pcm) -> float:
        probability: float = await self.ask("end_of_turn", audio, urgency=current_urgency())
        return probability
