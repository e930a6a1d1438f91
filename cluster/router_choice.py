"""Where a request should go. Pure: what is known of the replicas goes in, the best one comes out.

Everything is counted in seconds: what the request would wait for at a replica, and what its answer would wait for
there. So the preferred replica is left exactly when waiting for it would take longer than doing its work elsewhere.

    wait      until the work that is there already is done
    load      of a model that is not there: more where another one must leave for it, less where so many want it that
              more replicas are to have it; and a part of it where too many have it, so that they forget it
    prefix    of a conversation whose prompt another replica holds
    distance  to another node or zone
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

from cluster.router_told import NOTHING, Told

Id = TypeVar("Id", bound=Hashable)  # of replicas

SAME_ZONE_S, ELSEWHERE_S = 0.01, 0.05
"""What another node, and another zone, may cost: more than their way takes, so that traffic stays near its caller."""
PROTECTED = 8.0
"""Loads that a replica counts for where no model may leave: the request would wait there for who knows how long."""

SPREAD = 0.25
"""Of a load: what it counts for a model that is wanted in more places."""
FADE, FADE_S = 0.5, 0.15
"""Of a load, and at most: what is waited for so that a place whose room others need forgets the model."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What is supposed where the replicas do not say. `unit_s`: a unit of work."""

    load_s: float = 1.0
    prefix_s: float = 1.0
    unit_s: float = 0.1
    session_places: int = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request: the model and the conversation that it is about, where it is about one. `homes`: how many replicas
    would be needed for all the requests for this model."""

    key: str = ""
    session: str = ""
    homes: int = 1


@dataclass(slots=True, eq=False)
class Place(Generic[Id]):
    """A replica at the moment of the choice. `has_key`: in memory, or on its way (`is_arriving`).
    `may_forget`: others need the key's room. `room`: as in `Told`, less what was sent there since. `last_sent_at` evens
    out ties."""

    id: Id
    ongoing: int = 0
    max_ongoing: int = 16
    wait_s: float = 0.0
    distance_s: float = 0.0
    has_key: bool = False
    is_arriving: bool = False
    may_forget: bool = False
    has_session: bool = False
    active_sessions: int = 0
    room: int | None = None
    told: Told = NOTHING
    last_sent_at: float = 0.0

    @property
    def is_full(self) -> bool:
        return self.ongoing >= self.max_ongoing


def choose(places: Sequence[Place[Id]], wanted: Wanted, costs: Costs) -> Place[Id] | None:
    """The best that is not full; None where all are."""
    free = [place for place in places if place.ongoing < place.max_ongoing]
    if len(free) < 2:
        return free[0] if free else None
    homes = [place for place in free if place.has_key] if wanted.key else free
    if not homes:
        return _new_home(free, wanted, costs)
    kept = bool(wanted.session) and any(place.has_session for place in places)
    spread = SPREAD if wanted.homes > len(homes) else 1.0
    if all(place.is_arriving for place in homes):
        spread += 1.0  # their wait is for a load that has begun: another one would end later
    extra = _not_needed(homes, wanted) if wanted.key and len(homes) > wanted.homes else ()

    def cost(place: Place[Id]) -> tuple[float, int, float]:
        total = place.wait_s + place.distance_s
        if wanted.key and not place.has_key:
            total += spread * load_cost(place, costs)
        elif place.may_forget and place in extra:
            total += min(FADE_S, FADE * _own_load_s(place, costs))
        if wanted.session and not place.has_session:
            total += costs.prefix_s if kept else _crowd_cost(place, costs)
        return total, place.ongoing, place.last_sent_at

    return min(free, key=cost)


def _not_needed(homes: Sequence[Place[Id]], wanted: Wanted) -> Sequence[Place[Id]]:
    """All but the first ones in the key's own order, which is the same for all routers."""
    return sorted(homes, key=lambda place: _affinity(wanted.key, place.id), reverse=True)[wanted.homes :]


def load_cost(place: Place[Id], costs: Costs) -> float:
    """Of a model that is not there: its own load, and that of the one that leaves for it and will be back."""
    if place.room is None or place.room > 0:
        return _own_load_s(place, costs)
    return _own_load_s(place, costs) * (PROTECTED if place.told.evictable == 0 else 2.0)


def _own_load_s(place: Place[Id], costs: Costs) -> float:
    return costs.load_s if place.told.load_s is None else place.told.load_s


def _crowd_cost(place: Place[Id], costs: Costs) -> float:
    """Of a conversation's first request: where prompts are kept already, one more may drive out another."""
    places = place.told.session_places or costs.session_places
    return costs.prefix_s * place.active_sessions / places


def _new_home(free: Sequence[Place[Id]], wanted: Wanted, costs: Costs) -> Place[Id]:
    """For a model that is nowhere. Routers that do not talk must not load it in several places: of those that are about
    as good and have most room, or the model that is missed least, each takes the one that the key's hash prefers."""
    priced = [(place.wait_s + load_cost(place, costs), place) for place in free]
    cheapest, best = min(priced, key=lambda pair: pair[0])
    good = [place for cost, place in priced if cost <= cheapest + _own_load_s(best, costs) / 2]
    return max(good, key=lambda place: (place.room or 0, place.told.idle_s or 0.0, _affinity(wanted.key, place.id)))


def _affinity(key: str, replica: Hashable) -> bytes:
    """Rendezvous hashing: the same in every process, unlike `hash`."""
    return blake2b(f"{key}\0{replica}".encode(), digest_size=8).digest()
