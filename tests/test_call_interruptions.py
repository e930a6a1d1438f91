import asyncio
from dataclasses import replace
from typing import Any

import numpy as np

from deployments.options import Timing
from deployments.tones import decode, encode
from serve_app.call_options import CallOptions, TurnTakingOptions
from serve_app.conversation import messages as m
from serve_app.conversation.items import (
    SemanticVad,
)
from serve_app.paced_outbox import PacedOutbox
from tests.call_kit import (
    BRIEF,
    PATIENCE_S,
    PLAY_RATE_HZ,
    PacedLine,
    answered,
    calling,
    said,
    silence,
    speaking,
    statuses,
    synthetic_llm,
    turn,
)

SLOW_TO_START = Timing(first_item_ms=300, items_per_s=10_000)
CLICK = np.concatenate([encode("a", 16_000)] * 2)[:1600]  # 100 ms: too short for an interruption


async def test_an_interruption_stops_the_agent_and_the_history_keeps_what_was_heard() -> None:
    async with calling(speed=1.0) as rig:
        rig.line.give(said("count to 100"))
        await speaking(rig)
        rig.line.give(said("stop that", pause_ms=600))
        finished = await rig.line.wait(m.AnswerFinished)
        assert (finished.answer.status, finished.answer.reason) == ("cancelled", "turn_detected")
        first = rig.texts()[1][1]
        assert "One two three four five six seven eight nine ten".startswith(first)
        item = answered(rig, 1)
        assert item.status == "incomplete"
        assert item.heard_ms is not None
        assert [event.item.status for event in rig.line.all(m.ItemDone) if event.item is item] == ["incomplete"]
        await rig.line.wait(m.AnswerStarted, 2)
        assert rig.texts()[2] == ("user", "stop that")
        timeline: Any = rig.line.all(m.TurnTimed)[0].timeline
        assert timeline["outcome"] == "interrupted"
        assert {"interruption_started", "playout_paused", "playout_stopped"} <= {
            moment["name"] for moment in timeline["moments"]
        }


async def test_a_click_only_holds_the_agent_up() -> None:
    async with calling(speed=2.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(CLICK, silence(600))
        await rig.line.state("held")
        await rig.line.wait(m.TurnTimed)
        assert statuses(rig) == [("completed", None)]
        assert rig.line.words(answered(rig, 1)).endswith("twenty.")
        assert len(rig.line.all(m.SpeechStarted)) == 1


async def test_an_answer_that_ends_while_held_does_not_silence_the_next_one() -> None:
    async with calling(speed=1.0) as rig:
        rig.line.give(said("hello"))
        await rig.line.wait(m.AnswerFinished)  # all is sent, and most of it not played yet
        rig.line.give(CLICK)
        await rig.line.state("held")
        await rig.line.wait(m.TurnTimed)  # it was played to its end by the client's clock
        await rig.line.state("hearing", 2)
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed, 2)
        assert rig.line.words(answered(rig, 2)).startswith("you said")


async def test_the_caller_may_think_aloud_before_the_agent_speaks() -> None:
    async with calling(options=CallOptions(speculation=False, prefill=False), llm=synthetic_llm(SLOW_TO_START)) as rig:
        rig.line.give(said("hello", pause_ms=500))
        await rig.line.state("thinking")
        rig.line.give(said("no, wait", pause_ms=800))
        await rig.line.wait(m.TurnTimed, 2)
        assert [text for role, text in rig.texts() if role == "user"] == ["hello", "no, wait"]
        assert rig.texts()[-1] == ("assistant", "You said: no, wait.")


async def test_an_answer_that_may_not_be_interrupted_goes_on_and_the_words_are_kept() -> None:
    detection = SemanticVad(interrupt_response=False)
    async with calling(replace(BRIEF, turn_detection=detection), speed=4.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(said("stop"))
        await rig.line.wait(m.TurnTimed)
        assert rig.line.words(answered(rig, 1)).endswith("twenty.")
        assert [text for role, text in rig.texts() if role == "user"] == ["count to 20", "stop"]
        item = await turn(rig, "again", 2)
        assert item.text == "You said: again."


async def test_a_caller_still_speaking_when_that_answer_ends_is_answered_then() -> None:
    detection = SemanticVad(interrupt_response=False)
    async with calling(replace(BRIEF, turn_detection=detection), speed=10.0) as rig:
        rig.line.give(said("hello"))
        await speaking(rig)
        rig.line.give(said("and i go on", pause_ms=0))
        await rig.line.wait(m.TurnTimed)
        await rig.line.state("hearing", 2)
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed, 2)
        assert answered(rig, 2).text == "You said: and i go on."


async def test_cancelling_an_answer_that_is_spoken_over_takes_the_caller_up() -> None:
    detection = SemanticVad(interrupt_response=False)
    async with calling(replace(BRIEF, turn_detection=detection), speed=1.0) as rig:
        rig.line.give(said("count to 50"))
        await speaking(rig)
        rig.line.give(said("enough", pause_ms=0), m.CancelAnswer())
        await rig.line.wait(m.AnswerFinished)
        await rig.line.state("hearing", 2)
        rig.line.give(silence(800))
        await rig.line.wait(m.AnswerStarted, 2)
        assert rig.texts()[2] == ("user", "enough")


async def test_an_answer_that_is_interrupted_before_its_first_sound_is_never_heard() -> None:
    async with calling(speed=1.0, paced=True) as rig:
        assert isinstance(rig.line, PacedLine)
        rig.line.give(m.PauseSpeaking(), said("hello"))
        await rig.line.state("thinking")
        outbox = rig.call.stage.outbox
        assert isinstance(outbox, PacedOutbox)
        async with asyncio.timeout(PATIENCE_S):
            while not outbox._lane_samples:  # noqa: ASYNC110  sound that waits makes no event
                await asyncio.sleep(0.01)
        rig.line.give(said("no, wait"))
        await rig.line.wait(m.TurnTimed, 2)
        outcomes = [timed.timeline["outcome"] for timed in rig.line.all(m.TurnTimed)]
        assert outcomes == ["interrupted", "answered"]
        assert decode(np.concatenate(rig.line.frames), PLAY_RATE_HZ).startswith("you said:no, wait")


async def test_a_click_as_the_agent_begins_makes_it_begin_anew() -> None:
    heard: list[str] = []
    for yield_ms in (1000, 0):
        options = CallOptions(prefill=False, turn_taking=TurnTakingOptions(yield_ms=yield_ms))
        async with calling(options=options, speed=2.0, paced=True) as rig:
            assert isinstance(rig.line, PacedLine)
            rig.line.give(said("count to 8"))
            await rig.line.state("speaking")
            async with asyncio.timeout(PATIENCE_S):
                while len(rig.line.frames) < 12:  # noqa: ASYNC110  a frame makes no event
                    await asyncio.sleep(0.01)
            rig.line.give(CLICK, silence(600))
            await rig.line.wait(m.TurnTimed)
            assert statuses(rig) == [("completed", None)]
            assert rig.texts() == [("user", "count to 8"), ("assistant", "One two three four five six seven eight.")]
            heard.append(decode(np.concatenate(rig.line.frames), PLAY_RATE_HZ).replace(" ", ""))
    assert [text.count("on") for text in heard] == [2, 1]
    assert heard[0].endswith("onetwothreefourfivesixseveneight.")
