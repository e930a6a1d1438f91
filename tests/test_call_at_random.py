import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.options import Timing
from deployments.tones import encode
from serve_app.conversation import messages as m
from serve_app.conversation.items import (
    AnswerOptions,
    MessageItem,
    SemanticVad,
    ServerVad,
)
from serve_app.conversation.replay import replayed
from serve_app.conversation.turns import State
from serve_app.records import read_record
from serve_app.tally import MODELS
from tests.call_kit import (
    BRIEF,
    FAST,
    Rig,
    calling,
    silence,
    synthetic_asr,
    synthetic_llm,
)

ORDERS = st.sampled_from(
    [
        m.CommitAudio(),
        m.ClearAudio(),
        m.CancelAnswer(),
        m.CreateAnswer(AnswerOptions()),
        m.CreateAnswer(AnswerOptions(output="text")),
        m.CreateItem(MessageItem("user", "hi", id="item_hi")),
        m.DeleteItem("item_hi"),
        m.Configure(BRIEF),
        m.Configure(replace(BRIEF, turn_detection=None)),
        m.Configure(replace(BRIEF, turn_detection=ServerVad(interrupt_response=False, silence_duration_ms=200))),
        m.Configure(replace(BRIEF, turn_detection=SemanticVad(create_response=False))),
        "truncate",
        "delete",
    ]
)
SOUNDS = st.sampled_from(["hi", "what, ", "count to 30", "stop", "repeat", "..", " ", "   "])
WAITS_S = st.sampled_from([None, 0, 0, 0.003, 0.02])  # None: not even one pass of the loop
STEPS = st.lists(st.tuples(ORDERS | SOUNDS, WAITS_S, st.integers(0, 700)), max_size=14)
TIMINGS = st.sampled_from([FAST, Timing(first_item_ms=4, items_per_s=500)])


def about_the_last_answer(rig: Rig, what: str) -> m.Order:
    answers = [i for i in rig.call.stage.history.items if isinstance(i, MessageItem) and i.role == "assistant"]
    item_id = answers[-1].id if answers else "item_none"
    return m.TruncateItem(item_id, 0, 300) if what == "truncate" else m.DeleteItem(item_id)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(STEPS, TIMINGS, st.sampled_from([1.0, 20.0, 1000.0]))
async def test_no_order_of_events_breaks_a_call(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, float | None, int]], timing: Timing, speed: float
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path_factory.getbasetemp()))
    llm, asr = synthetic_llm(timing), synthetic_asr(timing)
    async with calling(speed=speed, llm=llm, asr=asr, record_dir=folder) as rig:
        for what, wait_s, pause_ms in steps:
            if what in ("truncate", "delete"):
                rig.line.give(about_the_last_answer(rig, what))
            elif isinstance(what, str):
                rig.line.give(encode(what, 16_000) if what.strip() else silence(200), silence(pause_ms))
            else:
                rig.line.give(what)
            if wait_s is not None:
                await asyncio.sleep(wait_s)
            has_reply = rig.call.state in (State.THINKING, State.SPEAKING, State.HELD)
            assert (rig.call.reply is not None) == has_reply
            assert not rig.task.done()
        rig.line.give(m.Configure(replace(BRIEF, turn_detection=None)), m.CancelAnswer(), silence(200))
        rig.line.give(m.ClearAudio(), m.RetrieveItem("the end"))
        await rig.line.until(lambda: any("the end" in p.message for p in rig.line.all(m.Problem)), "the end")
        finished = len(rig.line.all(m.AnswerFinished))
        rig.line.give(m.CreateItem(MessageItem("user", "still there?")), m.CreateAnswer(AnswerOptions(output="text")))
        await rig.line.until(lambda: len(rig.line.all(m.AnswerFinished)) > finished, "an answer")
        assert rig.line.all(m.AnswerFinished)[-1].answer.status == "completed"
    common = rig.call.stage.common
    counts = common.tally.counts
    for work in MODELS:
        assert counts[work, "started"] == counts[work, "used"] + counts[work, "wasted"]
    assert common.back_off.waiting == 0
    assert replayed(read_record(folder / "call_rig.jsonl")).differences == []
