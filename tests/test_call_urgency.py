"""How urgent what a call asks for is, and that a paused call asks for nothing."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from deployments.contracts import LlmItem, Message, Pcm, Transcript
from deployments.options import Timing
from deployments.urgency import Priority, Urgency, current_urgency
from serve_app.call_options import CallOptions, Deadlines, ListeningOptions, TurnTakingOptions
from serve_app.conversation import messages as m
from serve_app.conversation.turns import State
from tests.call_kit import (
    PATIENCE_S,
    Rig,
    answered,
    calling,
    said,
    silence,
    speaking,
    statuses,
    synthetic_asr,
    synthetic_llm,
    synthetic_turn,
    turn,
)
from tests.test_call_barge_in import Deaf, noise
from tests.test_partials import WORDS, give_slowly

FIRST, LATER, PARTIAL, SPECULATION, HOUSEKEEPING = Priority
LIMITS = Deadlines()


class Listening:
    """ASR and turn detection that note how urgent each request was."""

    def __init__(self) -> None:
        self.words: list[tuple[bool, Urgency]] = []
        self.turns: list[Urgency] = []
        self.slow_s = 0.0
        self._asr, self._turn = synthetic_asr(), synthetic_turn()

    async def transcribe(self, audio: Pcm, *, hasty: bool = False, **how: Any) -> Transcript:
        self.words.append((hasty, current_urgency()))
        await asyncio.sleep(self.slow_s)
        return await self._asr.transcribe(audio, **how)

    async def end_of_turn(self, audio: Pcm) -> float:
        self.turns.append(current_urgency())
        return await self._turn.end_of_turn(audio)


def asked(rig: Rig, kind: str) -> list[Priority]:
    return [urgency.priority for method, urgency in rig.models.urgencies if method == kind]


async def test_what_a_turn_waits_for_goes_before_words_of_somebody_who_still_speaks() -> None:
    listening = Listening()
    options = CallOptions(prefill=False, listening=ListeningOptions(partial_every_ms=60_000))
    async with calling(asr=listening, turn_detector=listening, options=options) as rig:
        await give_slowly(rig, said(WORDS, pause_ms=0))
        assert {urgency.priority for _, urgency in listening.words} == {PARTIAL}
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
        assert {urgency.priority for hasty, urgency in listening.words if not hasty} <= {FIRST}
        assert set(listening.turns) == {Urgency(FIRST, LIMITS.end_of_turn_s, "call_rig")}
        assert set(asked(rig, "sentence_end")) == {FIRST}


async def test_without_partials_the_words_of_a_turn_are_urgent() -> None:
    listening = Listening()
    options = CallOptions(prefill=False, listening=ListeningOptions(partials=False))
    async with calling(asr=listening, options=options) as rig:
        await turn(rig, "hello")
        assert set(listening.words) == {(False, Urgency(FIRST, LIMITS.transcript_s, "call_rig"))}


async def test_an_answer_is_urgent_up_to_its_first_phrase() -> None:
    async with calling(options=CallOptions(prefill=False, speculation=False)) as rig:
        await turn(rig, "count to 20")
        first_text, *later_text = asked(rig, "generate")
        first_sound, *later_sound = [priority for priority in asked(rig, "speak") if priority is not HOUSEKEEPING]
        assert asked(rig, "speak")[0] is HOUSEKEEPING  # what is kept was made before the call
        assert (first_text, first_sound) == (FIRST, FIRST)
        assert set(later_text) == set(later_sound) == {LATER}


async def test_an_answer_prepared_in_a_pause_is_speculation() -> None:
    async with calling() as rig:
        await give_slowly(rig, said("count to 20,", pause_ms=200))  # a comma: it may go on
        async with asyncio.timeout(PATIENCE_S):
            while not asked(rig, "generate"):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert rig.call.state is State.ENDING
        assert asked(rig, "generate")[0] is SPECULATION
        rig.line.give(silence(3000))
        await rig.line.wait(m.TurnTimed)


async def test_a_prepared_answer_that_is_wanted_before_anything_of_it_came_is_promoted() -> None:
    promoted: list[tuple[str, str]] = []
    llm = synthetic_llm(Timing(first_item_ms=400, items_per_s=10_000))
    options = CallOptions(prefill=False, turn_taking=TurnTakingOptions(ask_llm=False))
    async with calling(llm=llm, options=options, promote=lambda *what: promoted.append(what)) as rig:
        await turn(rig, "hello")
        assert asked(rig, "generate")[0] is SPECULATION
        assert ("llm", "call_rig") in promoted


async def test_words_begun_in_advance_are_promoted_when_they_are_those_of_the_turn() -> None:
    promoted: list[tuple[str, str]] = []

    listening = Listening()
    options = CallOptions(prefill=False, listening=ListeningOptions(partial_every_ms=60_000))
    async with calling(asr=listening, options=options, promote=lambda *what: promoted.append(what)) as rig:
        await give_slowly(rig, said("hello there", pause_ms=0))
        listening.slow_s = 0.1
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
        assert {urgency.priority for _, urgency in listening.words} == {PARTIAL}
        assert promoted[0] == ("asr", "call_rig")


async def test_what_the_llm_reads_in_advance_is_speculation() -> None:
    async with calling(options=CallOptions()) as rig:
        await give_slowly(rig, said(WORDS, pause_ms=0))
        assert set(asked(rig, "prefill")) == set(asked(rig, "sentence_end")) == {SPECULATION}


async def test_words_over_the_agents_voice_are_urgent() -> None:
    listening = Listening()
    async with calling(asr=listening, speed=1.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        before = len(listening.words)
        rig.line.give(said("wait"))
        await rig.line.wait(m.AnswerFinished)
        assert listening.words[before] == (True, Urgency(FIRST, LIMITS.barge_in_words_s, "call_rig"))


class Halting:
    """The synthetic LLM, which has an open stream and nothing to say after the first phrase until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()
        self._llm = synthetic_llm()

    async def generate(self, messages: Sequence[Message], **how: Any) -> AsyncGenerator[LlmItem, None]:
        if messages[-1].role == "assistant":
            await self.may_go_on.wait()
        async for item in self._llm.generate(messages, **how):
            yield item

    async def sentence_end(self, messages: Sequence[Message], **how: Any) -> float | None:
        return await self._llm.sentence_end(messages, **how)


async def test_a_paused_answer_costs_nothing_and_goes_on_to_its_end() -> None:
    llm = Halting()
    async with calling(asr=Deaf(), llm=llm, speed=8.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        await rig.line.until(lambda: rig.models.open_streams > 0, "an answer that is still being written")
        rig.line.give(noise(300))
        await rig.line.state("held")
        async with asyncio.timeout(PATIENCE_S):
            while rig.models.open_streams:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        requests = len(rig.models.urgencies)
        await asyncio.sleep(0.05)
        assert rig.call.state is State.HELD
        assert rig.call.reply is not None
        assert "llm_finished" not in rig.call.reply.timeline.stamps
        assert (rig.models.open_streams, len(rig.models.urgencies)) == (0, requests)
        llm.may_go_on.set()
        rig.line.give(silence(600))
        await rig.line.wait(m.TurnTimed)
        assert len(rig.models.urgencies) > requests
        assert statuses(rig) == [("completed", None)]
        words = rig.line.words(answered(rig, 1))
        assert words.startswith("one two three")
        assert words.endswith("nineteen twenty.")
