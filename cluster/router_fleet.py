"""What a router knows of a deployment's replicas: what they told, and what it sent since.

No Ray here: replicas are any hashable ids, and times are monotonic seconds given by whoever asks. One event loop.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Generic

from cluster.router_choice import Costs, Id, Place, Wanted, choose
from cluster.router_memory import Memory
from cluster.router_told import Told

TRUST_S = 1.5
"""So long what was sent outdoes what is told: a replica is asked twice a second, and its answer takes its way."""
BUSY = 0.8
"""Part of its time that a replica may be busy with one model, before another one is to have it, too."""
COUNT_S = 2.0
"""So long others' requests are supposed to be where they were last counted: one too many is refused and sent on."""
DOUBT_S = 2.0
"""A replica that could not be reached is not tried again for so long, or until it tells something new."""


@dataclass(slots=True)
class Seen(Generic[Id]):
    """A replica as Serve shows it."""

    id: Id
    max_ongoing: int
    distance_s: float
    told: Told


@dataclass(slots=True)
class _Member(Generic[Id]):
    place: Place[Id]
    own: int = 0  # requests of this router under way
    own_s: float = 0.0  # the work that they are
    others: int = 0
    counted_at: float = 0.0
    doubted_until: float = 0.0
    fresh: dict[str, float] = field(default_factory=dict)  # key -> when it was sent here first, not told of yet


@dataclass(slots=True)
class Fleet(Generic[Id]):
    """Which replicas there are, and which one a request should go to."""

    costs: Costs = field(default_factory=Costs)
    memory: Memory = field(default_factory=Memory)
    _members: dict[Id, _Member[Id]] = field(default_factory=dict)
    _under_way: defaultdict[tuple[Id, str], list[tuple[str, float]]] = field(default_factory=lambda: defaultdict(list))
    _keys_s: dict[str, float] = field(default_factory=dict)  # key -> work under way for it
    _load_s: float | None = None  # by what the replicas tell

    def update(self, replicas: Iterable[Seen[Id]], now: float) -> None:
        """These there are now; no others."""
        known, self._members = self._members, {}
        for seen in replicas:
            member = known.pop(seen.id, None) or _Member(Place(seen.id))
            self._members[seen.id] = member
            _take_in(member, seen, now)
        for gone in known:
            self.drop(gone)
        loads = [told.load_s for member in self._members.values() if (told := member.place.told).load_s is not None]
        self._load_s = sum(loads) / len(loads) if loads else None

    def drop(self, replica: Id) -> None:
        """It is gone, and what it held."""
        self._members.pop(replica, None)
        self.memory.drop(replica)
        for request in [request for request in self._under_way if request[0] == replica]:
            for key, work_s in self._under_way.pop(request):
                self._ended(key, work_s)

    def doubt(self, replica: Id, now: float) -> None:
        """It could not be reached."""
        if member := self._members.get(replica):
            member.doubted_until = now + DOUBT_S

    def counted(self, replica: Id, ongoing: int, now: float) -> None:
        """It has said how many requests are under way there; where it has no place for more, it has just refused one
        of ours."""
        if member := self._members.get(replica):
            refused = ongoing >= member.place.max_ongoing
            member.others = max(0, ongoing - member.own + refused)
            member.counted_at = now

    def choose(self, wanted: Wanted, now: float) -> Place[Id] | None:
        """Where it should go; None where no replica is known to be free."""
        self.memory.expire(now)
        last = self.memory.session_at(wanted.session) if wanted.session else None
        members = [member for member in self._members.values() if member.doubted_until <= now]
        for member in members:
            self._look(member, wanted, last, now)
        if wanted.key:
            wanted = Wanted(wanted.key, wanted.session, self._homes(wanted.key, now))
        return choose([member.place for member in members], wanted, self.costs)

    def uncertain(self) -> list[Id]:
        """Those that may be free for all that this router has sent: worth asking, where none is known to be."""
        return [id for id, member in self._members.items() if member.own < member.place.max_ongoing]

    def sent(self, replica: Id, request: str, wanted: Wanted, units: float, now: float) -> None:
        """A request goes there. `request`: an id, which several may have."""
        if (member := self._members.get(replica)) is None:
            return
        told = member.place.told
        work_s = units * (self.costs.unit_s if told.unit_s is None else told.unit_s)
        member.own += 1
        member.own_s += work_s
        member.place.last_sent_at = now
        self._under_way[replica, request].append((wanted.key, work_s))
        if wanted.key:
            self._keys_s[wanted.key] = self._keys_s.get(wanted.key, 0.0) + work_s
        if wanted.key and told.models is not None and not told.has(wanted.key):
            member.fresh.setdefault(wanted.key, now)
        self.memory.sent(replica, wanted.key, wanted.session, work_s, now)

    def completed(self, replica: Id, request: str) -> None:
        """It has ended there, however it did. What was not sent by `sent` is passed over."""
        if not (works := self._under_way.get((replica, request))):
            return
        key, work_s = works.pop()
        if not works:
            del self._under_way[replica, request]
        self._ended(key, work_s)
        if member := self._members.get(replica):
            member.own -= 1
            member.own_s = max(0.0, member.own_s - work_s) if member.own else 0.0

    def __len__(self) -> int:
        return len(self._members)

    def _homes(self, key: str, now: float) -> int:
        """Replicas that the model needs: for what is wanted of late, or because more work waits than a load takes,
        and for nothing but its turn."""
        homes = max(1, math.ceil(self.memory.demand(key, now) / BUSY))
        load_s = (self.costs.load_s if self._load_s is None else self._load_s) or 1.0
        waiting = math.ceil(self._keys_s.get(key, 0.0) / load_s)
        return homes if waiting <= homes or self._is_arriving(key) else waiting

    def _is_arriving(self, key: str) -> bool:
        return any(key in member.fresh or key in member.place.told.arriving for member in self._members.values())

    def _ended(self, key: str, work_s: float) -> None:
        if key in self._keys_s:
            self._keys_s[key] -= work_s
            if self._keys_s[key] < 1e-6:  # nothing, or what sums of fractions leave
                del self._keys_s[key]

    def _look(self, member: _Member[Id], wanted: Wanted, last: tuple[Hashable, float] | None, now: float) -> None:
        place = member.place
        if member.others and now - member.counted_at > COUNT_S:
            member.others = 0
        place.ongoing = member.own + member.others
        place.wait_s = member.own_s + self._others_s(member)
        if member.fresh:
            member.fresh = {key: at for key, at in member.fresh.items() if now - at < TRUST_S}
        place.room = None if place.told.room is None else place.told.room - len(member.fresh)
        if wanted.key:
            place.has_key = self._has_key(member, wanted.key)
            place.may_forget = place.room is not None and place.room <= 0 and not place.told.keeps(wanted.key)
            place.is_arriving = wanted.key in member.fresh or wanted.key in place.told.arriving
        if wanted.session:
            place.has_session = _has_session(place, wanted.session, last, now)
            place.active_sessions = max(self.memory.active_sessions(place.id), place.told.active_sessions or 0)

    def _others_s(self, member: _Member[Id]) -> float:
        """Others' requests are as long as those that the replica told of last; how many there are, each answer says."""
        told = member.place.told
        if told.queued_s and told.ongoing:
            return member.others * told.queued_s / told.ongoing
        return member.others * (self.costs.unit_s if told.unit_s is None else told.unit_s)

    def _has_key(self, member: _Member[Id], key: str) -> bool:
        """By what it tells, and what was sent since; where it tells nothing, by all that was ever sent."""
        place = member.place
        if place.told.models is None:
            return self.memory.has_key(place.id, key)
        return place.told.has(key) or key in member.fresh


def _has_session(place: Place[Id], session: str, last: tuple[Hashable, float] | None, now: float) -> bool:
    """Where it went last, unless that replica has told since that it holds it no more."""
    told = place.told.sessions
    if last is not None and last[0] == place.id:
        return told is None or session in told or now - last[1] < TRUST_S
    return told is not None and session in told and last is None


def _take_in(member: _Member[Id], seen: Seen[Id], now: float) -> None:
    place = member.place
    place.max_ongoing, place.distance_s = seen.max_ongoing, seen.distance_s
    if seen.told == place.told:
        return
    place.told = seen.told
    member.doubted_until = 0.0
    member.fresh = {key: at for key, at in member.fresh.items() if not seen.told.has(key)}
    if seen.told.ongoing is not None:
        member.others, member.counted_at = max(0, seen.told.ongoing - member.own), now
