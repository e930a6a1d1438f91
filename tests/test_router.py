"""Where requests go: the choice and what is known, without Ray."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.router import AffinityRouter
from cluster.router_choice import Costs, Place, Wanted, choose, load_cost
from cluster.router_fleet import DOUBT_S, TRUST_S, Fleet, Seen
from cluster.router_memory import SESSION_S, Memory
from cluster.router_told import NOTHING, Told, read
from deployments.urgency import Urgency

COSTS = Costs(load_s=1.0, prefix_s=0.5)
ASK, KEYED, TALK = Wanted(), Wanted("amy"), Wanted("", "call")


def place(name: str, **known: object) -> Place[str]:
    return Place(name, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("why", "places", "wanted", "chosen"),
    [
        ("the only one", [place("a", wait_s=9)], ASK, "a"),
        (
            "less work, though more requests",
            [place("a", wait_s=3, ongoing=1), place("b", wait_s=1, ongoing=9)],
            ASK,
            "b",
        ),
        ("fewer requests of the same work", [place("a", ongoing=2), place("b", ongoing=1)], ASK, "b"),
        ("longest unused", [place("a", last_sent_at=5), place("b", last_sent_at=4)], ASK, "b"),
        ("full", [place("a", ongoing=16), place("b", wait_s=60)], ASK, "b"),
        ("all full", [place("a", ongoing=16), place("b", ongoing=17)], ASK, None),
        ("none", [], ASK, None),
        ("resident", [place("a"), place("b", has_key=True, wait_s=0.9)], KEYED, "b"),
        ("resident, but busier than a load takes", [place("a"), place("b", has_key=True, wait_s=1.1)], KEYED, "a"),
        ("resident, but full", [place("a", wait_s=60), place("b", has_key=True, ongoing=16)], KEYED, "a"),
        (
            "resident, and elsewhere another would have to leave",
            [place("a", room=0), place("b", has_key=True, wait_s=1.9)],
            KEYED,
            "b",
        ),
        (
            "resident in both: the less busy",
            [place("a", has_key=True, wait_s=0.2), place("b", has_key=True, wait_s=0.1), place("c")],
            Wanted("amy", homes=2),
            "b",
        ),
        ("resident and far", [place("a"), place("b", has_key=True, distance_s=0.05)], KEYED, "b"),
        ("near", [place("a", distance_s=0.05), place("b", wait_s=0.04)], ASK, "b"),
        ("near, but busier than the way", [place("a", distance_s=0.05), place("b", wait_s=0.06)], ASK, "a"),
        ("holds the prompt", [place("a"), place("b", has_session=True, wait_s=0.4)], TALK, "b"),
        ("holds it, but is busier than reading it", [place("a"), place("b", has_session=True, wait_s=0.6)], TALK, "a"),
        (
            "new conversation: fewest others",
            [place("a", active_sessions=3), place("b", active_sessions=2, ongoing=5)],
            TALK,
            "b",
        ),
        (
            "the model counts before the prompt",
            [place("a", has_session=True), place("b", has_key=True)],
            Wanted("amy", "call"),
            "b",
        ),
        (
            "on its way: another load would end later",
            [place("a"), place("b", has_key=True, is_arriving=True, wait_s=1.9)],
            KEYED,
            "b",
        ),
        (
            "nowhere, and no room: where one is missed least",
            [place("a", room=0, told=Told(idle_s=8)), place("b", room=0, told=Told(idle_s=1)), place("c", room=-1)],
            KEYED,
            "a",
        ),
        (
            "in more places than needed: in the key's own order",
            [place("a", has_key=True, wait_s=0.14), place("b", has_key=True, may_forget=True)],
            KEYED,
            "a",
        ),
        (
            "not needed, but the others wait for longer than it takes to forget",
            [place("a", has_key=True, wait_s=0.16), place("b", has_key=True, may_forget=True)],
            KEYED,
            "b",
        ),
        (
            "in more places than needed, but nobody needs the room",
            [place("a", has_key=True, wait_s=0.1), place("b", has_key=True)],
            KEYED,
            "b",
        ),
        (
            "wanted in both",
            [place("a", has_key=True, wait_s=0.1), place("b", has_key=True, may_forget=True)],
            Wanted("amy", homes=2),
            "b",
        ),
        (
            "wanted in more places than it is in",
            [place("a", has_key=True, wait_s=0.4), place("b")],
            Wanted("amy", homes=2),
            "b",
        ),
        ("nowhere: where there is room", [place("a", room=0), place("b", room=1), place("c", room=0)], KEYED, "b"),
        (
            "nowhere, and no room: where one may leave",
            [place("a", room=0, told=Told(evictable=0)), place("b", room=0, told=Told(evictable=1))],
            KEYED,
            "b",
        ),
    ],
)
def test_the_choice(why: str, places: Sequence[Place[str]], wanted: Wanted, chosen: str | None) -> None:
    for order in (places, places[::-1]):
        best = choose(order, wanted, COSTS)
        assert (best.id if best else None) == chosen, why


PLACES = st.lists(
    st.builds(
        Place[int],
        st.integers(0, 10**6),
        ongoing=st.integers(0, 5),
        max_ongoing=st.integers(1, 4),
        wait_s=st.floats(0, 20),
        distance_s=st.sampled_from([0.0, 0.01, 0.05]),
        has_key=st.booleans(),
        has_session=st.booleans(),
        active_sessions=st.integers(0, 8),
        room=st.none() | st.integers(-1, 3),
        told=st.builds(Told, load_s=st.none() | st.floats(0, 5), evictable=st.none() | st.integers(0, 2)),
    ),
    max_size=6,
    unique_by=lambda place: place.id,
)
WANTED = st.builds(Wanted, st.sampled_from(["", "amy", "bob"]), st.sampled_from(["", "call"]))


@given(PLACES, WANTED)
def test_never_a_full_replica_and_never_none_while_one_is_free(places: list[Place[int]], wanted: Wanted) -> None:
    best = choose(places, wanted, COSTS)
    if best is None:
        assert all(place.is_full for place in places)
    else:
        assert not best.is_full


@given(PLACES)
def test_where_the_model_is_goes_first_unless_its_wait_exceeds_the_load(places: list[Place[int]]) -> None:
    best = choose(places, KEYED, COSTS)
    homes = [place for place in places if place.has_key and not place.is_full]
    if best is None or best.has_key or not homes:
        return
    instead_s = best.wait_s + best.distance_s + load_cost(best, COSTS)
    assert all(home.wait_s + home.distance_s >= instead_s for home in homes)


@given(PLACES, st.permutations(range(6)))
def test_routers_that_know_the_same_load_a_model_in_the_same_place(places: list[Place[int]], order: list[int]) -> None:
    for at in places:
        at.has_key = False
    mixed = [places[index] for index in order if index < len(places)]
    assert choose(places, KEYED, COSTS) is choose(mixed, KEYED, COSTS)


def test_models_that_are_nowhere_are_spread() -> None:
    homes = Counter(choose([place(name) for name in "abcd"], Wanted(f"v{n}"), COSTS).id for n in range(400))  # type: ignore[union-attr]
    assert len(homes) == 4
    assert min(homes.values()) > 60


# --- what is known


def fleet(count: int = 4, told: Told = NOTHING, most: int = 16) -> Fleet[str]:
    known = Fleet[str](COSTS)
    tell(known, dict.fromkeys("abcdefgh"[:count], told), 0.0, most)
    return known


def tell(known: Fleet[str], told: dict[str, Told], now: float, most: int = 16) -> None:
    known.update([Seen(name, most, 0.0, word) for name, word in told.items()], now)


def send(known: Fleet[str], wanted: Wanted, now: float = 0.0, units: float = 1.0) -> str:
    """A request that stays under way; its id is the replica's."""
    chosen = known.choose(wanted, now)
    assert chosen is not None
    known.sent(chosen.id, "request", wanted, units, now)
    return chosen.id


def test_a_burst_for_a_cold_voice_loads_it_once() -> None:
    known = fleet(told=Told(models=frozenset(), room=3))
    assert len({send(known, KEYED) for _ in range(10)}) == 1


def test_a_hot_voice_spreads_evenly_over_all_replicas() -> None:
    known = fleet(told=Told(models=frozenset(), room=3), most=1000)
    sent = Counter(send(known, KEYED) for _ in range(400))
    assert len(sent) == 4
    assert max(sent.values()) / min(sent.values()) <= 1.3


def test_twelve_voices_find_twelve_places() -> None:
    known, homes = fleet(told=Told(models=frozenset(), room=3)), Counter[str]()
    for number in range(12):
        home = send(known, Wanted(f"v{number}"))
        known.completed(home, "request")
        homes[home] += 1
    assert set(homes.values()) == {3}


def test_what_was_sent_counts_until_the_replica_tells() -> None:
    empty = Told(models=frozenset(), room=3)
    known = fleet(told=empty)
    home = send(known, KEYED, now=0.0)
    tell(known, {name: Told(models=frozenset({"bob"}), room=2) for name in "abcd"}, 0.3)  # asked before it came
    known.completed(home, "request")
    assert known.choose(KEYED, 0.4).has_key  # type: ignore[union-attr]
    assert not known.choose(KEYED, TRUST_S + 0.1).has_key  # type: ignore[union-attr]
    tell(known, {name: Told(models=frozenset({"amy"} if name == "c" else ())) for name in "abcd"}, TRUST_S + 0.2)
    assert known.choose(KEYED, TRUST_S + 0.3).id == "c"  # type: ignore[union-attr]


def test_replicas_that_tell_nothing_are_remembered() -> None:
    known = fleet()
    home = send(known, KEYED)
    known.completed(home, "request")
    assert all(send(known, KEYED, now) == home for now in (10.0, 1000.0))


def test_a_part_of_a_model_is_where_the_model_is() -> None:
    known = fleet(2)
    tell(known, {"a": Told(models=frozenset()), "b": Told(models=frozenset({"libritts"}))}, 1.0)
    assert {send(known, Wanted(f"libritts/{n}"), 1.0) for n in range(5)} == {"b"}


@given(st.lists(st.sampled_from("stuvwxyz"), max_size=60))
def test_conversations_stick(talk: list[str]) -> None:
    known, homes = fleet(), dict[str, str]()
    for turn, session in enumerate(talk):
        home = send(known, Wanted("", session), float(turn))
        known.completed(home, "request")
        assert homes.setdefault(session, home) == home
    sizes = Counter(homes.values()).values()
    assert not sizes or max(sizes) <= len(homes) // 4 + 1  # none holds more than its share


def test_a_conversation_whose_prompt_is_gone_goes_anywhere() -> None:
    known = fleet(2, Told(sessions=frozenset()))
    home = send(known, TALK, 0.0)
    other = "b" if home == "a" else "a"
    assert send(known, TALK, 1.0) == home
    tell(
        known, {name: Told(sessions=frozenset(), queued_s=0.3, ongoing=1 if name == home else 0) for name in "ab"}, 9.0
    )
    assert send(known, TALK, 9.0) == other


def test_another_router_s_conversation_is_found() -> None:
    known = fleet(2)
    tell(known, {"a": Told(sessions=frozenset()), "b": Told(sessions=frozenset({"call"}))}, 1.0)
    assert send(known, TALK, 1.0) == "b"


def test_real_cost_counts_not_requests() -> None:
    known = fleet(2, Told(unit_s=0.1, queued_s=0.0))
    long = send(known, ASK, units=50)
    short = {send(known, ASK, units=1) for _ in range(10)}
    assert long not in short


def test_the_work_of_others_counts() -> None:
    known = fleet(2)
    tell(known, {"a": Told(queued_s=1.0, ongoing=1), "b": Told(queued_s=0.3, ongoing=3)}, 1.0)
    assert {send(known, ASK, 1.0) for _ in range(7)} == {"b"}


def test_who_refuses_is_full_until_something_ends_or_time_passes() -> None:
    known = fleet(1, most=2)
    chosen = send(known, ASK)
    known.counted(chosen, 2, 0.0)  # two of somebody else's
    known.completed(chosen, "request")
    assert known.choose(ASK, 0.1) is None
    assert known.uncertain() == [chosen]  # worth asking
    assert known.choose(ASK, 5.0) is not None


def test_a_replica_full_of_this_router_s_requests_is_not_asked() -> None:
    known = fleet(1, most=2)
    assert [send(known, ASK), send(known, ASK)] == ["a", "a"]
    assert known.choose(ASK, 0.0) is None
    assert known.uncertain() == []
    known.completed("a", "request")
    assert known.choose(ASK, 0.0) is not None


def test_a_replica_that_cannot_be_reached_is_left() -> None:
    known = fleet(2)
    home = send(known, KEYED)
    known.doubt(home, 0.0)
    assert known.choose(KEYED, 0.1).id != home  # type: ignore[union-attr]
    known.doubt("b" if home == "a" else "a", 0.0)
    assert known.choose(KEYED, 0.1) is None
    assert len(known.uncertain()) == 2
    assert known.choose(KEYED, DOUBT_S + 0.1) is not None


def test_a_replica_that_is_gone_takes_with_it_what_it_held() -> None:
    known = fleet(2)
    home = send(known, Wanted("amy", "call"))
    known.drop(home)
    assert not known.memory.has_key(home, "amy")
    assert known.memory.session_at("call") is None
    known.completed(home, "request")
    assert send(known, Wanted("amy", "call")) != home
    tell(known, {}, 1.0)
    assert len(known) == 0
    assert known.choose(ASK, 1.0) is None


def test_what_ends_without_having_been_sent_is_passed_over() -> None:
    known = fleet(1, most=1)
    known.completed("a", "broadcast")
    send(known, ASK)
    assert known.choose(ASK, 0.0) is None


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=2), st.text(max_size=2), st.floats(0, 300))))
def test_memory_is_bounded(sent: list[tuple[str, str, str, float]]) -> None:
    memory = Memory(sessions=3, keys=4)
    for replica, key, session, now in sent:
        memory.sent(replica, key, session, 0.1, now)
        assert len(memory) <= 11
        assert memory.active_sessions("a") + memory.active_sessions("b") <= 3
        if session:
            assert memory.session_at(session) == (replica, now)


def test_sessions_end() -> None:
    memory = Memory()
    memory.sent("a", "", "old", 0.1, 0.0)
    memory.sent("a", "", "new", 0.1, 1.0)
    memory.expire(SESSION_S + 0.5)
    assert (memory.session_at("old"), memory.session_at("new")) == (None, ("a", 1.0))
    assert memory.active_sessions("a") == 1


def test_what_a_replica_tells_is_read() -> None:
    told = read(
        {
            "resident": ["amy"],
            "arriving": ["bob"],
            "pinned": ["amy"],
            "room": 1,
            "load_s": 2,
            "sessions": ["call"],
            "ongoing": 3,
            "more": 1,
        }
    )
    assert told == Told(
        frozenset({"amy", "bob"}),
        frozenset({"bob"}),
        frozenset({"amy"}),
        room=1,
        load_s=2.0,
        sessions=frozenset({"call"}),
        ongoing=3,
    )
    assert told.has("amy")
    assert told.has("bob/7")
    assert not told.has("am")
    assert told.keeps("amy/7")
    assert not told.keeps("bob")


@pytest.mark.parametrize(
    "stats",
    [
        {},
        {"resident": "amy"},
        {"resident": 1, "room": -1},
        {"queued_s": float("nan")},
        {"load_s": "1"},
        {"ongoing": True},
    ],
)
def test_what_makes_no_sense_was_not_said(stats: dict[str, object]) -> None:
    assert read(stats) == NOTHING


# --- how long a request waits


class Asked:
    """A request that waits for a replica."""

    def __init__(self, **kwargs: object) -> None:
        self.kwargs = kwargs


@pytest.mark.parametrize(
    ("replicas", "urgency", "patience_s"),
    [(1, None, 5), (1, Urgency(wait_s=2), 2), (1, Urgency(wait_s=60), 5), (0, None, 20), (0, Urgency(wait_s=2), 2)],
)
def test_who_has_no_replica_waits_for_one_to_come(replicas: int, urgency: Urgency | None, patience_s: float) -> None:
    router = AffinityRouter.__new__(AffinityRouter)
    there: Any = dict.fromkeys(range(replicas))
    asked: Any = Asked(urgency=urgency)
    router.wait_s, router._replicas = 5.0, there
    assert router.patience_s(asked) == patience_s
