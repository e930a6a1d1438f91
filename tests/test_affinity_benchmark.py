"""`python -m loadtest.affinity`: what it counts, and what it says where nothing can be measured."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from loadtest.affinity import main
from loadtest.affinity_callers import CALLERS, TURNS, Served, busiest_to_least, conversations, found_percent, talk


def served(*replicas: str, found: bool = True, first: bool = False) -> list[Served]:
    return [Served(float(at), 1.0, replica, found, first) for at, replica in enumerate(replicas)]


@pytest.mark.parametrize(
    ("counted", "percent"),
    [
        ([], 0.0),
        (served("a", "b"), 100.0),
        ([*served("a", "b", "a"), *served("b", found=False)], 75.0),
        ([*served("a"), *served("b", found=False, first=True)], 100.0),  # it could find nothing
    ],
)
def test_what_was_found(counted: Sequence[Served], percent: float) -> None:
    assert found_percent(counted) == percent


@pytest.mark.parametrize(
    ("replicas", "since_s", "ratio"),
    [("ab", 0.0, 1.0), ("aab", 0.0, 2.0), ("aabab", 2.0, 2.0), ("aaa", 0.0, None), ("", 0.0, None)],
)
def test_the_busiest_replica_beside_the_least_busy(replicas: str, since_s: float, ratio: float | None) -> None:
    assert busiest_to_least(served(*replicas), 2, since_s) == ratio


class Handle:
    """Remembers who asked what."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer = self

    def options(self, **options: str) -> "Handle":
        assert list(options) == ["session_id"]
        return self

    def remote(self, session: str) -> Any:
        self.asked.append(session)

        async def answer() -> tuple[str, bool]:
            await asyncio.sleep(0)
            return "a", True

        return answer()


async def test_everybody_talks_in_one_conversation_after_the_other() -> None:
    handle = Handle()
    found = await talk(0.2, conversations(handle, "talk"), pause_s=0.0)
    assert len(found) == len(handle.asked) > CALLERS * TURNS
    mine = [session for session in handle.asked if session.startswith("talk-7-")]
    assert mine[: TURNS + 1] == ["talk-7-0"] * TURNS + ["talk-7-1"]
    assert sum(one.first for one in found) == len(set(handle.asked))


def test_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--seconds", "0"])
    assert left.value.code == 2
    assert "expected a number from 1 on" in capsys.readouterr().err
