"""What goes by a handle besides the arguments, and what becomes of refusals."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from ray.serve._private.common import RequestMetadata
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from cluster.router_refusal import NoReplicaFree
from deployments.contracts import Message
from deployments.errors import AtCapacity
from serve_app.remotes import RemoteLlm, RemoteTts, translated


class Router:
    """Of Serve's handle; it refuses everything."""

    def __init__(self) -> None:
        self.asked: list[RequestMetadata] = []

    def assign_request(self, metadata: RequestMetadata, *args: Any, **kwargs: Any) -> "Future[Any]":
        self.asked.append(metadata)
        refused: Future[Any] = Future()
        refused.set_exception(NoReplicaFree("all 2 replicas of it are busy for 5 s now", 7))
        return refused


@pytest.fixture
def handle() -> DeploymentHandle[Any]:
    options: Any = SimpleNamespace(_run_router_in_separate_loop=True, _source=None)
    router: Any = Router()
    return DeploymentHandle("tts", "app", init_options=options, _router=router)


async def test_a_voice_and_a_conversation_say_where_to_go(handle: DeploymentHandle[Any]) -> None:
    streams = [
        RemoteTts(handle).speak("hi", voice="amy"),
        RemoteTts(handle).speak("hi"),
        RemoteLlm(handle).generate([Message("user", "hi")], session_id="call", max_tokens=1, temperature=0),
    ]
    for stream in streams:
        with pytest.raises(AtCapacity, match="all 2 replicas of it are busy for 5 s now"):
            await anext(stream)
    with pytest.raises(AtCapacity):
        await RemoteLlm(handle).sentence_end([], session_id="other")
    router: Any = handle._router
    asked = [(it.call_method, it.multiplexed_model_id, it.session_id, it.is_streaming) for it in router.asked]
    assert asked == [
        ("speak", "amy", "", True),
        ("speak", "", "", True),
        ("generate", "", "call", True),
        ("sentence_end", "", "other", False),
    ]
    assert not any(it._by_reference for it in router.asked)  # by gRPC, or dead callers' streams run on


def test_a_queue_that_is_full_is_no_failure() -> None:
    assert isinstance(translated(BackPressureError(9, 9), "tts"), AtCapacity)
