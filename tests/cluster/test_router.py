"""The router between real handles and real replicas."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import ray.serve.context
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle

from cluster.circuit import CIRCUITS
from cluster.router import AffinityRouter, affinity
from cluster.router_refusal import NoReplicaFree
from deployments.urgency import Urgency
from tests.cluster.replicas import Replica

REPLICAS, PLACES = 2, 3
WAIT_S = 1.0
PATIENCE_S = 30.0
"""Who waits longer hangs."""

Handle = DeploymentHandle[Any]


@pytest.fixture(scope="module")
def handle(cluster: None) -> Iterator[Handle]:
    replicas = serve.deployment(
        name="replicas",
        num_replicas=REPLICAS,
        max_ongoing_requests=PLACES,
        graceful_shutdown_timeout_s=0.1,
        graceful_shutdown_wait_loop_s=0.1,
        ray_actor_options={"num_cpus": 0.1},
        request_router_config=affinity(wait_s=WAIT_S),
    )(Replica)
    running: Handle = serve.run(replicas.bind(), name="affinity", route_prefix=None)
    yield running.options(_by_reference=False)
    serve.delete("affinity")


async def who(handle: Handle, key: str = "", session: str = "") -> str:
    async with asyncio.timeout(PATIENCE_S):
        answer: str = await handle.options(multiplexed_model_id=key, session_id=session).who.remote()
        return answer


def choices(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Counts how often the handle's router looks for a replica; the next item is the number so far."""
    router: AffinityRouter = handle._router._asyncio_router.request_router  # type: ignore[union-attr]
    number, choose = count(), router.choose_replicas

    async def counted(*args: Any, **kwargs: Any) -> Any:
        next(number)
        return await choose(*args, **kwargs)

    monkeypatch.setattr(router, "choose_replicas", counted)
    return number


async def test_a_key_and_a_session_stay_where_they_are(handle: Handle) -> None:
    for option in ("key", "session"):
        homes = {f"{option}{n}": await who(handle, **{option: f"{option}{n}"}) for n in range(3)}
        for _ in range(3):
            assert {name: await who(handle, **{option: name}) for name in homes} == homes


async def test_what_is_told_to_all_is_no_trial_of_a_replica_in_trouble(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CIRCUITS, "first_pause_s", 0.2)
    struck = await who(handle)
    CIRCUITS.failed(struck)
    try:
        assert await who(handle) != struck
        await asyncio.sleep(0.3)
        assert len(await handle.broadcast("who").results_async(timeout_s=PATIENCE_S)) == REPLICAS
        assert CIRCUITS.sound(struck)
    finally:
        CIRCUITS.answered(struck)


async def test_calls_of_one_parent_request_do_not_wait_for_each_other(handle: Handle) -> None:
    context = ray.serve.context._RequestContext(request_id="parent", _internal_request_id="parent")
    token = ray.serve.context._serve_request_context.set(context)  # type: ignore[arg-type]
    try:
        found = await asyncio.gather(*(who(handle) for _ in range(20)))
    finally:
        ray.serve.context._serve_request_context.reset(token)
    assert len(set(found)) == REPLICAS


async def test_where_all_are_full_one_more_is_refused_with_a_reason_and_who_waits_gets_the_first_place(
    handle: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    await who(handle)
    looked = choices(handle, monkeypatch)
    held = [handle.hold.remote() for _ in range(REPLICAS * PLACES)]
    try:
        await asyncio.sleep(0.2)
        async with asyncio.timeout(PATIENCE_S):
            refused = await asyncio.gather(*(handle.who.remote() for _ in range(10)), return_exceptions=True)
        assert {type(error) for error in refused} == {NoReplicaFree}
        assert str(refused[0]) == f"all {REPLICAS} replicas of replicas are busy for 1 s now"
        with pytest.raises(NoReplicaFree, match=r"busy for 0\.1 s now"):
            await handle.who.remote(urgency=Urgency(wait_s=0.1))
        assert next(looked) < 200  # a router that does not pause looks thousands of times
        waiting = asyncio.ensure_future(who(handle))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        held[0].cancel()  # type: ignore[no-untyped-call]
        assert await waiting
    finally:
        for response in held:
            response.cancel()  # type: ignore[no-untyped-call]


async def test_a_dead_replica_is_left(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> None:
    home = await who(handle, "key0")
    with pytest.raises(RayActorError):
        await handle.options(multiplexed_model_id="key0").die.remote()
    looked = choices(handle, monkeypatch)
    others = [await who(handle, "key0") for _ in range(5)]
    assert next(looked) < 20  # it is not tried again and again until Serve knows
    assert home not in others
    assert len(set(others)) == 1
