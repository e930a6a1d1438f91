"""What a replica tells those who route to it, by `record_routing_stats`. Every field may be left out."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Told:
    """One replica's word. None: it does not say.

    `models`: those in memory or on their way, by all their names; of them, `arriving` are on their way, and `pinned`
    will stay. `room`: models that it could take without another one leaving; `evictable`: those that may leave for
    another one, the next of which nobody has used for `idle_s`. `load_s`: what loading one takes. `sessions`: whose
    prompts it holds; `active_sessions` of at most `session_places` were used lately. `ongoing`: requests under way,
    `queued_s`: until they would be done without any more; `unit_s`: what a unit of work takes (see the router's
    `units`).
    """

    models: frozenset[str] | None = None
    arriving: frozenset[str] = frozenset()
    pinned: frozenset[str] = frozenset()
    room: int | None = None
    evictable: int | None = None
    idle_s: float | None = None
    load_s: float | None = None
    sessions: frozenset[str] | None = None
    active_sessions: int | None = None
    session_places: int | None = None
    ongoing: int | None = None
    queued_s: float | None = None
    unit_s: float | None = None

    def has(self, key: str) -> bool:
        """Is the model there, or soon? A key may name a part of a model: MODEL/PART."""
        return self.models is not None and _named(key, self.models)

    def keeps(self, key: str) -> bool:
        """Will the model stay, used or not?"""
        return _named(key, self.pinned)


NOTHING = Told()


def read(stats: Mapping[str, Any]) -> Told:
    """From `record_routing_stats`. What is not of the right kind counts as not said: no request may fail by it."""
    resident = _names(stats.get("resident"))
    arriving, pinned, names = (_names(stats.get(name)) or frozenset() for name in ("arriving", "pinned", "names"))
    return Told(
        models=None if resident is None else resident | arriving | names,
        arriving=arriving,
        pinned=pinned,
        room=_count(stats.get("room")),
        evictable=_count(stats.get("evictable")),
        idle_s=_seconds(stats.get("idle_s")),
        load_s=_seconds(stats.get("load_s")),
        sessions=_names(stats.get("sessions")),
        active_sessions=_count(stats.get("active_sessions")),
        session_places=_count(stats.get("session_places")),
        ongoing=_count(stats.get("ongoing")),
        queued_s=_seconds(stats.get("queued_s")),
        unit_s=_seconds(stats.get("unit_s")),
    )


def _named(key: str, models: frozenset[str]) -> bool:
    return key in models or key.rpartition("/")[0] in models


def _names(value: object) -> frozenset[str] | None:
    if isinstance(value, str) or not isinstance(value, Iterable):
        return None
    return frozenset(name for name in value if isinstance(name, str))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None
