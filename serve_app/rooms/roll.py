"""Who hosts which room: the room keeper's memory. Pure; time is given, never read."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stay:
    """An agent's stay in a room. `caller`: who was asked for; None: whoever comes first."""

    room: str
    call: str
    identity: str
    metadata: str = ""
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What an ingress replica says about itself, whenever it changes. `calls`: all it hosts, rooms or not. Reports may
    overtake each other: of one replica's, the one with the highest `number` is the latest."""

    replica: str
    free: int
    stays: tuple[Stay, ...] = ()
    calls: tuple[str, ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """A stay is over. `answered`: the sid of a caller whose call ended for good although they may still be there
    (refused, or the longest call is over): they get no other agent before they join anew."""

    stay: Stay
    answered: str | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """To a replica: take this room. `instead_of`: the identity of an agent that died there."""

    room: str
    metadata: str = ""
    caller: str | None = None
    instead_of: str | None = None


@dataclass(frozen=True, slots=True)
class FallSilent:
    """To a replica: the agent of this call shall stop speaking."""

    call: str


Order = Join | FallSilent

PLACED_S = 5.0
"""A replica that was told to join reports the room within this time, or did not join."""


@dataclass(slots=True)
class _Placed:
    replica: str
    until_s: float


@dataclass(slots=True)
class Unattended:
    """A room whose agent has left. `answered`: the sids of callers who get no other agent."""

    join: Join
    answered: set[str] = field(default_factory=set)


class Roll:
    """Reports in; who hosts what, who has room, and which rooms are without an agent out."""

    def __init__(self) -> None:
        self._reports: dict[str, Report] = {}
        self._placed: dict[str, _Placed] = {}
        self._answered: dict[str, set[str]] = {}
        self.unattended: dict[str, Unattended] = {}

    def report(self, report: Report) -> None:
        latest = self._reports.get(report.replica)
        if latest is not None and latest.number > report.number:
            return
        self._reports[report.replica] = report
        for stay in report.stays:
            self._placed.pop(stay.room, None)
            self.unattended.pop(stay.room, None)

    def gone(self, replica: str) -> tuple[Stay, ...]:
        """The replica is no more. Returns the rooms that lost their agents."""
        report = self._reports.pop(replica, None)
        self._placed = {room: placed for room, placed in self._placed.items() if placed.replica != replica}
        stays = report.stays if report else ()
        for stay in stays:
            join = Join(stay.room, stay.metadata, stay.caller, stay.identity)
            self.unattended[stay.room] = Unattended(join, self.answered(stay.room))
        return stays

    def ended(self, ended: Ended) -> None:
        """A later caller of this room gets an agent again, whoever they are. One who joined in vain blocks nobody."""
        stay = ended.stay
        self._placed.pop(stay.room, None)
        if ended.answered is not None:
            self._answered.setdefault(stay.room, set()).add(ended.answered)
        left = self.unattended.get(stay.room)  # somebody went there in vain
        join = left.join if left is not None else Join(stay.room, stay.metadata)
        self.unattended[stay.room] = Unattended(join, self.answered(stay.room))

    def answered(self, room: str) -> set[str]:
        """The sids of callers whose calls ended for good, in this agent's stay or an earlier one."""
        return set(self._answered.get(room, ()))

    def host(self, room: str, now_s: float) -> str | None:
        """The replica that hosts this room, or was just told to."""
        for replica, report in self._reports.items():
            if any(stay.room == room for stay in report.stays):
                return replica
        placed = self._placed.get(room)
        return placed.replica if placed is not None and placed.until_s > now_s else None

    def host_of_call(self, call: str) -> str | None:
        return next((replica for replica, report in self._reports.items() if call in report.calls), None)

    def claim(self, room: str, replica: str, now_s: float) -> bool:
        """This replica is about to join the room. False: another one does, or did already."""
        host = self.host(room, now_s)
        if host is None:
            self._placed = {name: placed for name, placed in self._placed.items() if placed.until_s > now_s}
            self._placed[room] = _Placed(replica, now_s + PLACED_S)
        return host in (None, replica)

    def roomiest(self, now_s: float, full: str | None = None) -> str | None:
        """The replica with the most free places, counting those that were just given away; None when all are full, as
        `full` is known to be."""
        given = [placed.replica for placed in self._placed.values() if placed.until_s > now_s]
        free = {replica: report.free - given.count(replica) for replica, report in self._reports.items()}
        free.pop(full or "", None)
        best = max(free, key=lambda replica: free[replica], default=None)
        return best if best is not None and free[best] > 0 else None

    def forget_closed(self, rooms: Iterable[str]) -> None:
        """These rooms are all that there are."""
        there = set(rooms)
        self.unattended = {room: left for room, left in self.unattended.items() if room in there}
        self._answered = {room: sids for room, sids in self._answered.items() if room in there}
