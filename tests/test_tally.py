"""What is counted of speculation, in calls with synthetic models."""

import asyncio
from typing import Any

from deployments.options import Timing
from serve_app.call_options import CallOptions
from serve_app.conversation import messages as m
from serve_app.conversation.items import MessageItem
from serve_app.tally import Tally
from tests.call_kit import PATIENCE_S, Rig, calling, prepared, said, silence, synthetic_llm, turn

NOTHING = {"transcript": 0.0, "llm": 0.0, "tts": 0.0}


def tally(rig: Rig) -> Tally:
    return rig.call.stage.common.tally


def counted(rig: Rig, work: Any) -> tuple[int, int, int]:
    """Started, used, wasted."""
    counts = tally(rig).counts
    return counts[work, "started"], counts[work, "used"], counts[work, "wasted"]


async def test_what_was_prepared_in_the_last_pause_is_used() -> None:
    async with calling() as rig:
        rig.line.give(said("hello there", pause_ms=100))
        await prepared(rig)
        assert counted(rig, "answer") == (1, 0, 0)
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
    assert counted(rig, "transcript") == (1, 1, 0)
    assert counted(rig, "answer") == (1, 1, 0)
    assert tally(rig).wasted_s == NOTHING


async def test_what_was_prepared_when_the_caller_went_on_is_wasted() -> None:
    async with calling() as rig:
        rig.line.give(said("i would like the,", pause_ms=100))
        await prepared(rig)
        rig.line.give(said("green tea.", pause_ms=100))
        await rig.line.state("ending", 2)
        await prepared(rig)
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
    assert counted(rig, "transcript") == (2, 1, 1)
    assert counted(rig, "answer") == (2, 1, 1)
    assert all(seconds > 0 for seconds in tally(rig).wasted_s.values())


async def test_what_is_still_prepared_when_the_caller_leaves_is_wasted() -> None:
    async with calling(llm=synthetic_llm(Timing(first_item_ms=0, items_per_s=0.001))) as rig:
        rig.line.give(said("i would like the,", pause_ms=100))
        async with asyncio.timeout(PATIENCE_S):
            while rig.call.turn is None or "llm_first_token" not in rig.call.turn.timeline.stamps:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
    assert counted(rig, "transcript") == (1, 0, 1)
    assert counted(rig, "answer") == (1, 0, 1)
    assert tally(rig).wasted_s["llm"] > 0
    assert tally(rig).wasted_s["tts"] == 0, "no phrase was written"


async def test_an_answer_to_what_has_changed_is_wasted_and_its_transcript_is_not() -> None:
    async with calling() as rig:
        rig.line.give(said("hello there", pause_ms=100))
        await prepared(rig)
        rig.line.give(m.CreateItem(MessageItem("user", "By the way."), None))
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
    assert counted(rig, "transcript") == (1, 1, 0)
    assert counted(rig, "answer") == (1, 0, 1)
    assert tally(rig).wasted_s["transcript"] == 0
    assert tally(rig).wasted_s["llm"] > 0


async def test_without_speculation_no_answer_is_begun_in_advance() -> None:
    async with calling(options=CallOptions(speculation=False, prefill=False)) as rig:
        await turn(rig, "hello there")
    assert counted(rig, "answer") == (0, 0, 0)
