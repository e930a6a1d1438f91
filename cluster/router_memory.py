"""What a router remembers of where it sent things, until the replicas tell it themselves. Bounded, and forgotten."""

import math
from collections import Counter, OrderedDict
from collections.abc import Hashable

SESSIONS = 4096
KEYS = 4096
SESSION_S = 120.0
"""A conversation that was silent for longer has ended, or its replica still tells that it holds it."""
DEMAND_S = 5.0
"""So far back counts how much a model is wanted."""


class Memory:
    """Times are monotonic seconds."""

    def __init__(self, sessions: int = SESSIONS, keys: int = KEYS) -> None:
        self._most_sessions = sessions
        self._most_keys = keys
        self._sessions: OrderedDict[str, tuple[Hashable, float]] = OrderedDict()  # longest unused first
        self._keys: OrderedDict[tuple[Hashable, str], None] = OrderedDict()
        self._demand: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (replicas kept busy, as of when)
        self._active: Counter[Hashable] = Counter()

    def sent(self, replica: Hashable, key: str, session: str, work_s: float, now: float) -> None:
        """A request went there, which takes `work_s`. What is empty is not remembered."""
        if key:
            self._demand[key] = (self.demand(key, now) + work_s / DEMAND_S, now)
            self._demand.move_to_end(key)
            if len(self._demand) > self._most_keys:
                self._demand.popitem(last=False)
            self._keys[replica, key] = None
            self._keys.move_to_end((replica, key))
            if len(self._keys) > self._most_keys:
                self._keys.popitem(last=False)
        if session:
            self._forget(session)
            self._sessions[session] = (replica, now)
            self._active[replica] += 1
            if len(self._sessions) > self._most_sessions:
                self._forget(next(iter(self._sessions)))

    def demand(self, key: str, now: float) -> float:
        """How many replicas this key's requests keep busy: seconds of work a second, of late."""
        if (known := self._demand.get(key)) is None:
            return 0.0
        busy, at = known
        return busy * math.exp((at - now) / DEMAND_S)

    def has_key(self, replica: Hashable, key: str) -> bool:
        """Was a request with this key sent there?"""
        return (replica, key) in self._keys

    def session_at(self, session: str) -> tuple[Hashable, float] | None:
        """Where the session's last request went, and when."""
        return self._sessions.get(session)

    def active_sessions(self, replica: Hashable) -> int:
        return self._active.get(replica, 0)

    def expire(self, now: float) -> None:
        """Forget the sessions that have ended. Cheap where there are none: they are in the order of their use."""
        while self._sessions:
            session, (_, at) = next(iter(self._sessions.items()))
            if now - at <= SESSION_S:
                return
            self._forget(session)

    def drop(self, replica: Hashable) -> None:
        """The replica is gone, with all that it held."""
        for session in [session for session, (where, _) in self._sessions.items() if where == replica]:
            self._forget(session)
        for place in [place for place in self._keys if place[0] == replica]:
            del self._keys[place]

    def __len__(self) -> int:
        return len(self._sessions) + len(self._keys) + len(self._demand)

    def _forget(self, session: str) -> None:
        if (known := self._sessions.pop(session, None)) is not None:
            self._active[known[0]] -= 1
            if not self._active[known[0]]:
                del self._active[known[0]]
