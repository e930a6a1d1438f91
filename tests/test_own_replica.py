import pytest
from ray.exceptions import RayError
from ray.serve._private.common import DeploymentID, DeploymentTargetInfo, ReplicaID, RunningReplicaInfo
from ray.serve.exceptions import RayServeException

from cluster.own_replica import OwnEnd, own_id
from tests.agents_kit import within_replica

OWN, OTHER = (ReplicaID(name, DeploymentID("ingress", "test")) for name in ("own", "other"))


def targets(*replicas: ReplicaID, available: bool = True) -> DeploymentTargetInfo:
    """What Serve tells those who route to the deployment."""
    running = [RunningReplicaInfo(replica, None, None, None, replica.unique_id, 1) for replica in replicas]
    return DeploymentTargetInfo(available, running)


class Poll:
    """Of the controller's news; it stands in for Ray's."""

    def __init__(self) -> None:
        self.stopped = 0

    def stop(self) -> None:
        self.stopped += 1


def own_end() -> tuple[OwnEnd, list[str], Poll]:
    """One that was told nothing yet, without a controller to ask."""
    end, told, poll = OwnEnd.__new__(OwnEnd), list[str](), Poll()
    end._own, end._served = OWN, False
    end._leaving = lambda: told.append("leaving")
    end._poll = poll  # type: ignore[assignment]
    return end, told, poll


def test_a_replica_knows_its_own_id() -> None:
    with within_replica("own"):
        assert own_id() == "own"
    with pytest.raises((RayServeException, RayError)):
        own_id()


@pytest.mark.parametrize(
    ("news", "leaves"),
    [
        ([targets(OTHER)], False),  # not taken into service yet
        ([targets(OWN)], False),
        ([targets(OTHER), targets(OWN, OTHER)], False),
        ([targets(OWN), targets(OWN, OTHER)], False),
        ([targets(OWN), targets(OTHER)], True),
        ([targets(OWN), targets()], True),
        ([targets(available=False)], True),  # the deployment is gone before it was there
        ([targets(OWN), targets(OTHER), targets(OTHER)], True),  # told once
    ],
)
def test_when_it_is_out_of_service(news: list[DeploymentTargetInfo], leaves: bool) -> None:
    end, told, poll = own_end()
    for one in news:
        end._take(one)
    assert told == (["leaving"] if leaves else [])
    assert bool(poll.stopped) is leaves
