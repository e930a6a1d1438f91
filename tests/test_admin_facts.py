"""What is to be seen of a system in which not everybody answers."""

from typing import Any

from ray.exceptions import ActorUnavailableError

from deployments.contracts import Capabilities
from deployments.queue import QueueFigures
from deployments.status import Place, ReplicaStatus
from serve_app.admin.facts import deployments
from serve_app.admin.recent import percentiles

ALIVE = ReplicaStatus("r1", Place("n1", (), None), Capabilities(tools=True), (), ("m",), QueueFigures(0, 0, {}, {}))
DEAD = ActorUnavailableError("dead", b"0" * 16)


class Asked:
    """Stands in for Ray's handle: its replicas answer with these."""

    def __init__(self, *answers: Any) -> None:
        self._answers = answers

    def broadcast(self, method: str) -> "Asked":
        assert method == "status"
        return self

    async def results_async(self, *, timeout_s: float, return_exceptions: bool) -> list[Any]:
        assert return_exceptions
        return list(self._answers)


async def row(*answers: Any) -> dict[str, Any]:
    handle: Any = Asked(*answers)
    [found] = await deployments({"llm": ("llm", handle)}, 1.0)
    return found


async def test_one_that_is_dead_does_not_hide_the_others() -> None:
    found = await row(ALIVE, DEAD)
    assert [each["replica"] for each in found["replicas"]] == ["r1"]
    assert found["problem"].startswith("1 of 2 replicas do not answer: ActorUnavailableError")
    assert found["capabilities"]["tools"] is True


async def test_where_nobody_is_or_answers_the_reason_is_told() -> None:
    assert (await row())["problem"] == "no replica runs"
    assert (await row(DEAD))["problem"].startswith("1 of 1 replicas do not answer")
    assert (await row(ALIVE))["problem"] is None


def test_percentiles() -> None:
    assert percentiles([]) is None
    assert percentiles([float(n) for n in range(101)]) == {"p50": 50.0, "p95": 95.0, "n": 101}
