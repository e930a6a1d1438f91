"""One long call, against a scripted server whose prompts grow and are cut."""

from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from loadtest.lines import Target
from loadtest.long_call import held
from loadtest.long_call_report import EDGE, Course, write
from loadtest.small_talk import QUESTIONS
from tests.scripted_server import ScriptedServer, tone

PROMPTS = [100, 150, 90]


class Counts(ScriptedServer):
    """Says how long its prompts were."""

    async def _send(self, kind: str, **fields: Any) -> None:
        if kind == "response.done":
            fields["response"]["usage"] = {"input_tokens": PROMPTS[self._turn - 1]}
        await super()._send(kind, **fields)


async def test_every_turn_is_timed_and_each_answer_is_stopped() -> None:
    async with Counts(answer_s=5.0).run() as server:
        course = await held(Target("socket", server.url), [tone(0.2), tone(0.3)], len(PROMPTS), 0.1)
        assert server.kinds().count("conversation.item.truncate") == len(PROMPTS)
    assert [number for number, _ in course.turns] == [1, 2, 3]
    assert all(ms > 100 for _, ms in course.turns)
    assert course.prompts == [*enumerate(PROMPTS, 1)]
    assert course.cuts() == 1
    assert course.failures == []
    assert course.wall_s < len(PROMPTS) * 5  # nobody heard them to their ends


def test_both_ends_of_a_call_of_usual_length_ask_the_same() -> None:
    asked = list(islice(cycle(QUESTIONS), 200))
    assert asked[:EDGE] == asked[-EDGE:]
    assert len(set(QUESTIONS)) == len(QUESTIONS)


class HangsUp(ScriptedServer):
    async def _answer(self, heard: str) -> None:
        if self._turn:
            await self._socket.close()
            return
        await super()._answer(heard)


async def test_a_call_that_ends_early_keeps_what_was_measured() -> None:
    async with HangsUp(answer_s=0.3).run() as server:
        course = await held(Target("socket", server.url), [tone(0.2)], 3, 0.1)
    assert len(course.turns) == 1
    assert len(course.failures) == 1
    assert course.failures[0].startswith("the call ended: ")


def test_the_ends_of_a_call_stand_beside_each_other(tmp_path: Path) -> None:
    course = Course(turns=[(number, 100.0 + number) for number in range(1, 51)])
    course.memory = [(0.0, {"antiphon:llm": 300.0}), (5.0, {"antiphon:llm": 500.0}), (9.0, {"antiphon:llm": 400.0})]
    said = write(tmp_path, "room", course)
    assert (said["first_turns_ms"]["n"], said["first_turns_ms"]["max"]) == (20, 120)
    assert (said["last_turns_ms"]["n"], said["last_turns_ms"]["max"]) == (20, 150)
    assert said["memory_mb"] == {"antiphon:llm": {"first": 300, "most": 500, "last": 400}}
    assert said["prompts_cut"] is None  # nobody told
    assert (tmp_path / "long_call_room.json").is_file()
    assert (tmp_path / "long_call_room.png").read_bytes().startswith(b"\x89PNG")
    assert said["last_of_first"] is None  # the models alone were not timed


@pytest.mark.parametrize(("after_ms", "growth"), [(200.0, 0.5), (100.0, 1.0), (50.0, 2.0)])
def test_a_machine_that_grew_slower_is_not_held_against_the_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after_ms: float, growth: float
) -> None:
    course = Course(turns=[(number, 300.0) for number in range(1, 51)], models_ms=(100.0, after_ms))
    assert write(tmp_path, "socket", course)["last_of_first"] == growth
    assert f"{growth:.0%} of the first" in capsys.readouterr().out
