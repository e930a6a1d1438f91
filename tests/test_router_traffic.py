"""A router and four replicas in a world of its own, where time is a number: what does it do to traffic?"""

import heapq
import random
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from cluster.router_choice import Costs, Wanted
from cluster.router_fleet import Fleet, Seen
from cluster.router_told import Told

KEPT, LOAD_S, SPEAK_S, AT_ONCE = 3, 0.3, 0.1, 4
CALLERS, VOICES, REPLICAS = 40, 12, "abcd"
TELLS_S, LATE_S = 0.5, 0.05


@dataclass
class Replica:
    """Keeps three voices, loads one at a time, and speaks four phrases at a time; the others wait."""

    voices: OrderedDict[str, float] = field(default_factory=OrderedDict)  # -> when it is loaded
    used_at: dict[str, float] = field(default_factory=dict)
    loaded_at: float = 0.0
    free_at: list[float] = field(default_factory=lambda: [0.0] * AT_ONCE)
    ongoing: int = 0

    def fetch(self, voice: str, now: float) -> tuple[float, bool]:
        """When the voice is there, and whether it is now."""
        self.ongoing += 1
        found = self.voices.get(voice, now + 1) <= now
        if voice not in self.voices:
            self.loaded_at = max(now, self.loaded_at) + LOAD_S
            self.voices[voice] = self.loaded_at
            if len(self.voices) > KEPT:
                self.voices.popitem(last=False)
        self.voices.move_to_end(voice)
        self.used_at[voice] = now
        return max(now, self.voices[voice]), found

    def speak(self, now: float) -> float:
        """When it has ended."""
        heapq.heappush(self.free_at, ends := max(now, heapq.heappop(self.free_at)) + SPEAK_S)
        return ends

    def tell(self, now: float) -> Told:
        return Told(
            models=frozenset(self.voices),
            arriving=frozenset(voice for voice, at in self.voices.items() if at > now),
            room=KEPT - len(self.voices),
            evictable=len(self.voices),
            idle_s=now - self.used_at[next(iter(self.voices))] if self.voices else 0.0,
            load_s=LOAD_S,
            ongoing=self.ongoing,
            queued_s=round(self.ongoing * SPEAK_S / AT_ONCE, 2),
            unit_s=SPEAK_S / AT_ONCE,
        )


@dataclass(frozen=True)
class Served:
    at: float
    replica: str
    found: bool


def traffic(ask: Callable[[random.Random], str], pause_s: float, seconds: float, routers: int = 1) -> list[Served]:
    """40 callers, shared by several routers."""
    chance, order = random.Random(1), count()
    fleets = [Fleet[str](Costs()) for _ in range(routers)]
    replicas = {name: Replica() for name in REPLICAS}
    events: list[tuple[float, int, Callable[[float], None]]] = []
    served: list[Served] = []

    def at(when: float, do: Callable[[float], None]) -> None:
        heapq.heappush(events, (when, next(order), do))

    def tell(now: float) -> None:
        said = [Seen(name, 100, 0.0, replica.tell(now)) for name, replica in replicas.items()]
        for fleet in fleets:
            at(now + LATE_S, lambda then, fleet=fleet: fleet.update(said, then))  # type: ignore[misc]
        at(now + TELLS_S, tell)

    def call(fleet: Fleet[str], now: float) -> None:
        wanted = Wanted(ask(chance))
        if (place := fleet.choose(wanted, now)) is None:
            return at(now + 0.01, lambda then: call(fleet, then))
        fleet.sent(place.id, "request", wanted, 1.0, now)
        ready, found = replicas[place.id].fetch(wanted.key, now)
        fleet.counted(place.id, replicas[place.id].ongoing, now)
        served.append(Served(now, place.id, found))
        at(ready, lambda then: at(replicas[place.id].speak(then), lambda then: end(fleet, place.id, then)))
        return None

    def end(fleet: Fleet[str], replica: str, now: float) -> None:
        fleet.completed(replica, "request")
        replicas[replica].ongoing -= 1
        at(now + (chance.expovariate(1 / pause_s) if pause_s else 0.0), lambda then: call(fleet, then))

    at(0.0, tell)
    for number in range(CALLERS):
        at(0.1 + chance.random() * pause_s, lambda then, fleet=fleets[number % routers]: call(fleet, then))  # type: ignore[misc]
    while events[0][0] < seconds:
        now, _, do = heapq.heappop(events)
        do(now)
    return served


def by_popularity(chance: random.Random) -> str:
    [voice] = chance.choices(range(VOICES), [1 / (n + 1) for n in range(VOICES)])
    return f"voice{voice}"


@pytest.mark.parametrize("routers", [1, 2, 4])
def test_voices_are_found_where_requests_go(routers: int) -> None:
    served = traffic(by_popularity, pause_s=0.5, seconds=40.0, routers=routers)
    found = [one.found for one in served if one.at > 3.0]
    assert sum(found) / len(found) > 0.95


@pytest.mark.parametrize("routers", [1, 4])
def test_a_hot_voice_is_spread_evenly(routers: int) -> None:
    served = traffic(lambda chance: "hot", pause_s=0.0, seconds=15.0, routers=routers)
    counts = Counter(one.replica for one in served if one.at > 5.0)
    assert len(counts) == len(REPLICAS)
    assert max(counts.values()) / min(counts.values()) < 1.3


def test_a_cold_voice_stays_where_it_is() -> None:
    served = traffic(lambda chance: "cold", pause_s=20.0, seconds=120.0)
    assert len({one.replica for one in served}) == 1
