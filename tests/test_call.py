import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np

from deployments.contracts import Message, Pcm, Transcript
from deployments.options import Timing
from serve_app.call_options import CallOptions, TurnTakingOptions
from serve_app.conversation import messages as m
from serve_app.conversation.items import (
    AnswerOptions,
    CallSettings,
    SemanticVad,
)
from tests.call_kit import (
    BRIEF,
    PATIENCE_S,
    Rig,
    calling,
    prepared,
    roles,
    said,
    silence,
    statuses,
    synthetic_llm,
    turn,
)


async def test_a_turn_is_answered_and_every_event_comes_in_its_order() -> None:
    async with calling() as rig:
        item = await turn(rig, "hello there")
        assert rig.line.words(item).replace(" ", "") == "yousaid:hellothere."  # phrases follow each other closely
        assert rig.texts() == [("user", "hello there"), ("assistant", "You said: hello there.")]
        assert statuses(rig) == [("completed", None)]
        names = list(dict.fromkeys(type(event).__name__ for event in rig.line.events))
        assert [n for n in names if n != "StateChanged" and not n.startswith("Transcribed")] == [
            "SpeechStarted",
            "SpeechStopped",
            "AudioCommitted",
            "ItemAdded",
            "ItemDone",
            "AnswerStarted",
            "AnswerText",
            "AnswerFinished",
            "TurnTimed",
        ]
        assert [e.text for e in rig.line.all(m.Transcribed)] == ["hello there"]
        states = [e.state for e in rig.line.all(m.StateChanged)]
        assert states == ["hearing", "ending", "thinking", "speaking", "idle"]


async def test_the_timeline_of_a_turn_says_what_was_prepared_in_the_pause() -> None:
    async with calling() as rig:
        rig.line.give(said("hello there", pause_ms=100))
        await rig.line.state("ending")
        await prepared(rig)
        assert not rig.line.played
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
        timeline: Any = rig.line.all(m.TurnTimed)[0].timeline
        moments = {each["name"]: each for each in timeline["moments"]}
        assert timeline["turn"] == 1
        assert timeline["outcome"] == "answered"
        for moment in ("transcript_ready", "llm_started", "llm_first_token", "tts_first_audio"):
            assert moments[moment]["speculative"], moment
        assert not moments["first_frame_sent"]["speculative"]
        assert "agent_stopped" in moments


async def test_a_second_turn_knows_the_first() -> None:
    async with calling() as rig:
        await turn(rig, "my cat is old")
        item = await turn(rig, "what did i say first", 2)
        assert item.text == "First you said: my cat is old."
        assert [role for role, _ in roles(rig.models.prompts[-1])] == ["system", "user", "assistant", "user"]


async def test_a_caller_who_pauses_and_goes_on_is_answered_once() -> None:
    async with calling() as rig:
        rig.line.give(said("i would like the,", pause_ms=0), silence(500), said("green tea."))
        await rig.line.wait(m.TurnTimed)
        assert [text for role, text in rig.texts() if role == "user"] == ["i would like the, green tea."]
        assert len(rig.line.all(m.AnswerStarted)) == 1
        assert len(rig.models.prompts) == 2  # the first was dropped unheard


async def test_without_speculation_the_answer_is_made_when_the_turn_is_over() -> None:
    async with calling(options=CallOptions(speculation=False, prefill=False)) as rig:
        await turn(rig, "hello")
        timeline: Any = rig.line.all(m.TurnTimed)[0].timeline
        moments = {moment["name"]: moment["speculative"] for moment in timeline["moments"]}
        assert not moments["llm_started"]
        assert not moments["tts_first_audio"]


async def test_sound_without_words_gets_no_answer() -> None:
    class HearsNothing:
        async def transcribe(self, audio: Pcm, *, language: str | None = None, **how: Any) -> Transcript:
            return Transcript("", (), 1.0, 0, "en")

    async with calling(asr=HearsNothing()) as rig:
        rig.line.give(said("hmm"))
        timed = await rig.line.wait(m.TurnTimed)
        assert timed.timeline["outcome"] == "unanswered"
        assert not rig.line.all(m.AnswerStarted)
        rig.line.give(m.CreateAnswer(AnswerOptions()))  # but who asks gets one
        await rig.line.wait(m.AnswerFinished)


async def test_settings_changed_in_the_pause_hold_for_the_answer() -> None:
    async with calling() as rig:
        rig.line.give(said("hello", pause_ms=100), m.Configure(replace(BRIEF, instructions="Be long.")), silence(800))
        await rig.line.wait(m.TurnTimed)
        assert rig.models.prompts[-1][0] == Message("system", "Be long.")


async def test_what_is_said_later_in_one_long_chunk_is_not_lost() -> None:
    async with calling(replace(BRIEF, turn_detection=SemanticVad(create_response=False))) as rig:
        rig.line._inputs.put_nowait(np.concatenate([said("one."), said("two.")]))
        await rig.line.wait(m.Transcribed, 2)
        assert [text for _, text in rig.texts()] == ["one.", "two."]


async def test_the_llm_reads_the_instructions_when_the_call_begins_and_when_they_change() -> None:
    options = CallOptions(prefill=True, first_phrase_alone=False)
    async with calling(CallSettings("Be brief."), options=options) as rig:
        await turn(rig, "hello")
        rig.line.give(m.Configure(CallSettings("Be kind.")), m.Configure(CallSettings("Be kind.", speed=2.0)))
        await rig.line.wait(m.Configured, 2)
        await turn(rig, "hello again")
        read = [[text for _, text in roles(prompt)] for prompt in in_advance(rig)]
        assert read == [["Be brief."], ["Be kind.", "hello", "You said: hello."]]


async def test_a_long_history_is_shortened_and_read_while_the_answer_sounds() -> None:
    options = CallOptions(prefill=True, max_history_tokens=300, first_phrase_alone=False)
    async with calling(CallSettings("Be brief."), options=options) as rig:
        for number in range(1, 9):
            await turn(rig, f"this is number {number}", number)
        lengths = [len(prompt) for prompt in rig.models.prompts if prompt[-1].role == "user"]
        shortened = next(place for place, (one, other) in enumerate(pairwise(lengths)) if other <= one) + 1
        asked = [prompt for prompt in rig.models.prompts if prompt[-1].role == "user"][shortened]
        assert list(asked[:-1]) in [list(prompt) for prompt in in_advance(rig)]  # before that turn's words came


def in_advance(rig: Rig) -> list[Sequence[Message]]:
    """The prompts that no turn of the caller's ends."""
    return [prompt for prompt in [*rig.models.prompts, *rig.models.continued] if prompt[-1].role != "user"]


async def test_only_the_newest_instructions_are_read_however_often_they_change() -> None:
    never = synthetic_llm(Timing(first_item_ms=1e6))
    async with calling(CallSettings("Be brief."), options=CallOptions(prefill=True), llm=never) as rig:
        for place in range(1, 6):
            rig.line.give(m.Configure(CallSettings(f"Be kind {place} times.")))
            await rig.line.wait(m.Configured, place)
        for _ in range(20):  # those that were cancelled close their streams
            await asyncio.sleep(0)
        assert [prompt[0].text for prompt in rig.models.prompts][-1] == "Be kind 5 times."
        assert rig.models.open_streams == 1


async def test_a_whole_sentence_waits_for_less_silence_than_a_broken_one_that_sounds_the_same() -> None:
    async with calling() as rig:
        rig.line.give(said("tell me more,", pause_ms=800))
        await rig.line.wait(m.AnswerStarted)
        await rig.line.wait(m.TurnTimed)
        rig.line.give(said("tell me and,", pause_ms=800))
        async with asyncio.timeout(PATIENCE_S):
            while "tell me and," not in rig.models.judged:  # noqa: ASYNC110  an opinion makes no event
                await asyncio.sleep(0.01)
        assert len(rig.line.all(m.AnswerStarted)) == 1
        rig.line.give(silence(TurnTakingOptions().medium_silence_ms))
        await rig.line.wait(m.AnswerStarted, 2)


async def test_without_the_llm_s_opinion_the_sound_decides() -> None:
    turn_taking = TurnTakingOptions(ask_llm=False)
    async with calling(options=CallOptions(prefill=False, turn_taking=turn_taking)) as rig:
        rig.line.give(said("tell me more,", pause_ms=turn_taking.medium_silence_ms))
        await rig.line.wait(m.TurnTimed)
        assert rig.models.judged == []
