from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.circuit import CIRCUITS, Circuits
from cluster.steering import steered


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def circuits(clock: Clock) -> Circuits:
    circuits = Circuits(clock)
    circuits.configure(first_pause_s=1.0, longest_pause_s=4.0)
    circuits.present("asr", ["a", "b"])
    return circuits


def test_a_replica_that_failed_is_avoided_for_a_pause(circuits: Circuits, clock: Clock) -> None:
    assert circuits.sound("a")
    circuits.failed("a")
    assert not circuits.sound("a")
    assert circuits.sound("b")
    clock.now_s += 0.9
    assert not circuits.sound("a")
    clock.now_s += 0.1
    assert circuits.sound("a")


def test_one_request_tries_it_again_and_an_answer_makes_it_sound(circuits: Circuits, clock: Clock) -> None:
    circuits.failed("a")
    clock.now_s += 1.0
    circuits.sent("a")
    assert not circuits.sound("a")
    circuits.answered("a")
    assert circuits.sound("a")
    circuits.sent("a")
    assert circuits.sound("a")


def test_a_try_that_comes_to_nothing_keeps_nobody_away_for_longer_than_a_pause(
    circuits: Circuits, clock: Clock
) -> None:
    circuits.failed("a")
    clock.now_s += 1.0
    circuits.sent("a")  # and the caller hangs up
    clock.now_s += 1.0
    assert circuits.sound("a")


def test_the_pause_doubles_with_every_try_that_fails_up_to_the_longest(circuits: Circuits, clock: Clock) -> None:
    pauses = []
    for _ in range(4):
        circuits.sent("a")
        circuits.failed("a")
        began_s = clock.now_s
        while not circuits.sound("a"):
            clock.now_s += 0.5
        pauses.append(clock.now_s - began_s)
    assert pauses == [1.0, 2.0, 4.0, 4.0]
    circuits.answered("a")
    circuits.failed("a")
    clock.now_s += 1.0
    assert circuits.sound("a")


def test_requests_that_fail_together_count_once(circuits: Circuits, clock: Clock) -> None:
    for _ in range(10):
        circuits.failed("a")
    clock.now_s += 1.0
    assert circuits.sound("a")


def test_whether_somebody_else_could_answer(circuits: Circuits) -> None:
    assert circuits.another("asr", than="a")
    assert not circuits.another("llm", than="a")
    circuits.failed("b")
    assert not circuits.another("asr", than="a")
    circuits.answered("b")
    circuits.present("asr", ["a"])
    assert not circuits.another("asr", than="a")


def test_a_replica_that_is_gone_is_forgotten(circuits: Circuits) -> None:
    circuits.failed("a")
    circuits.present("llm", ["c"])
    assert not circuits.sound("a")
    circuits.present("asr", ["b"])
    assert circuits.sound("a")


# --- routing


def replicas(*names: str) -> list[Any]:
    return [SimpleNamespace(replica_id=SimpleNamespace(unique_id=f"steered-{name}")) for name in names]


def steered_names(ranks: list[str], in_trouble: str) -> list[str]:
    """Of five replicas; one letter each."""
    every = replicas(*"abcde")
    names = [f"steered-{name}" for name in "abcde"]
    CIRCUITS.present("steered", [])
    CIRCUITS.present("steered", names)
    for name in in_trouble:
        CIRCUITS.failed(f"steered-{name}")
    found = steered([[every["abcde".index(name)] for name in rank] for rank in ranks], every)
    CIRCUITS.present("steered", [])
    return ["".join(replica.replica_id.unique_id[-1] for replica in rank) for rank in found]


@pytest.mark.parametrize(
    ("ranks", "in_trouble", "left"),
    [
        (["ab", "c"], "", ["ab", "c"]),
        (["ab", "c"], "a", ["b", "c"]),
        (["a", "bc"], "a", ["bc"]),
        (["ab"], "ab", ["cde"]),
        (["ab"], "abd", ["ce"]),
        (["ab", "c"], "abcde", ["ab", "c"]),
    ],
)
def test_a_router_keeps_away_from_replicas_in_trouble(ranks: list[str], in_trouble: str, left: list[str]) -> None:
    assert steered_names(ranks, in_trouble) == left
