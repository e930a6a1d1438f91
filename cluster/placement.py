"""GPUs and deployments -> which replica sits where, or a clear refusal. Pure: it asks nobody, and starts nothing.

It follows Ray: replicas of a deployment are spread over the hosts; on a host, fractions go to the GPU that is
fullest and still has room, so that one GPU is packed before the next; a fraction above .49 has its GPU alone; above 1
there are whole GPUs of one host only. Ray does not keep the replicas of a GPU apart, so each engine is to be told how
much memory it may take: its share of the GPU's.

Ray starts deployments in no fixed order. Here the largest shares come first, which leaves the fewest gaps; and here a
replica only goes to a GPU on which its share is enough memory, of which Ray knows nothing: where kinds of GPUs are
mixed, `kind` makes sure.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cluster.machines import Host
from cluster.placement_reasons import reason
from cluster.placement_room import Need, Room


@dataclass(frozen=True, slots=True)
class Seat:
    """A replica's place. `gpus`: indices on its host, none, one, or several whole ones. `memory_gb`: the most that its
    engine may take of each GPU; None where that is not known, or there is none."""

    deployment: str
    replica: int
    host: int
    gpus: tuple[int, ...] = ()
    share: float = 0.0
    memory_gb: float | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A deployment of which `placed` replicas have a place and the next one has not, and why."""

    need: Need
    placed: int
    why: str

    def __str__(self) -> str:
        which = f"replica {self.placed + 1} of {self.need.replicas}: " if self.need.replicas > 1 else ""
        return f"{self.need.deployment}: {which}{self.why}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Who sits where. `refusals` is empty where everything fits."""

    hosts: tuple[Host, ...]
    needs: tuple[Need, ...]
    seats: tuple[Seat, ...]
    refusals: tuple[Refusal, ...]

    def on_gpu(self, host: int, gpu: int) -> list[Seat]:
        return [seat for seat in self.seats if seat.host == host and gpu in seat.gpus]

    def on_host(self, host: int) -> list[Seat]:
        return [seat for seat in self.seats if seat.host == host]

    def of(self, deployment: str) -> list[Seat]:
        return [seat for seat in self.seats if seat.deployment == deployment]


def plan(needs: Sequence[Need], hosts: Iterable[Host]) -> Plan:
    """Every replica's place. What finds none is refused, and the others are placed as if it were not there."""
    rooms = [Room(host) for host in hosts]
    seats: list[Seat] = []
    refusals: list[Refusal] = []
    for need in sorted(needs, key=lambda need: (-need.gpus, -need.cores)):
        found = list(_seat_all(need, rooms))
        seats += found
        if len(found) < need.replicas:
            refusals.append(Refusal(need, len(found), reason(need, rooms)))
    return Plan(tuple(room.host for room in rooms), tuple(needs), tuple(seats), tuple(refusals))


def _seat_all(need: Need, rooms: Sequence[Room]) -> Iterator[Seat]:
    """Each replica goes to the host that has the fewest of them, and of these to the one with the most free cores."""
    here = [0] * len(rooms)
    for replica in range(need.replicas):
        found: list[tuple[int, tuple[int, ...]]] = []
        for index, room in enumerate(rooms):
            gpus = room.gpus_for(need) if need.gpus > 0 else ()
            if gpus is not None and room.holds(need):
                found.append((index, gpus))
        if not found:
            return
        host, gpus = min(found, key=lambda place: (here[place[0]], -rooms[place[0]].cores, place[0]))
        rooms[host].take(need, gpus)
        here[host] += 1
        memory = rooms[host].host.gpus[gpus[0]].memory_gb if gpus else None
        share = min(need.gpus, 1.0)
        yield Seat(need.deployment, replica, host, gpus, share, None if memory is None else share * memory)
