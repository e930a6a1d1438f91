"""What a call does with the caller's words while they speak."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

from deployments.contracts import Pcm, Transcript
from deployments.errors import ModelFailed
from serve_app.call_options import CallOptions, ListeningOptions
from serve_app.conversation import messages as m
from tests.call_kit import PATIENCE_S, Rig, calling, said, silence, synthetic_asr, turn

WORDS = "one two three four five six seven eight"


class Asr:
    """The synthetic one, which notes what it is asked."""

    def __init__(self, *, fails: bool = False) -> None:
        self._asr = synthetic_asr()
        self.asked: list[int] = []
        self.fails = fails

    async def transcribe(self, audio: Pcm, **how: Any) -> Transcript:
        self.asked.append(len(audio))
        if self.fails:
            raise ModelFailed("out of order")
        return await self._asr.transcribe(audio, **how)


async def give_slowly(rig: Rig, pcm: Pcm) -> None:
    """In pieces of 100 ms, each of which is dealt with before the next: models have time, as they have with people."""
    wanted = rig.call.ear.memory.next_sample
    for first in range(0, len(pcm), 1600):
        piece = pcm[first : first + 1600]
        wanted += len(piece)
        rig.line.give(piece)
        async with asyncio.timeout(PATIENCE_S):
            while rig.call.ear.memory.next_sample < wanted or _understanding(rig):  # noqa: ASYNC110
                await asyncio.sleep(0.001)


def _understanding(rig: Rig) -> bool:
    turn = rig.call.turn
    return turn is not None and turn.partial is not None and not turn.partial.task.done()


def options(**listening: Any) -> CallOptions:
    return CallOptions(prefill=False, listening=ListeningOptions(**listening))


async def test_words_are_told_while_the_caller_speaks_and_none_is_taken_back() -> None:
    async with calling() as rig:
        await give_slowly(rig, said(WORDS, pause_ms=0))
        events = rig.line.all(m.TranscribedSoFar)
        stable = [event.text[: event.stable] for event in events]
        assert rig.line.all(m.Transcribed) == []
        assert events[0].text
        assert not stable[0]  # what only one transcript says is a guess
        assert len(set(stable)) >= 3
        assert all(later.startswith(earlier) for earlier, later in pairwise(stable))
        assert WORDS.startswith(stable[-1])
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
        assert [event.text for event in rig.line.all(m.Transcribed)] == [WORDS]


async def test_a_transcript_begun_when_the_voice_broke_off_is_the_one_of_the_turn() -> None:
    asr = Asr()
    async with calling(asr=asr, options=options(partial_every_ms=60_000)) as rig:
        await give_slowly(rig, said("hello there", pause_ms=0))
        before = len(asr.asked)
        await give_slowly(rig, silence(800))
        await rig.line.wait(m.TurnTimed)
        assert len(asr.asked) == before + 1  # begun at the first silent window, not once more at the pause
        assert [event.text for event in rig.line.all(m.Transcribed)] == ["hello there"]
        timeline: Any = rig.line.all(m.TurnTimed)[0].timeline
        moments = {each["name"]: each for each in timeline["moments"]}
        assert "transcript_ready" in moments


async def test_a_voice_without_words_is_asked_about_often_only_in_its_first_second() -> None:
    class HearsNothing(Asr):
        async def transcribe(self, audio: Pcm, **how: Any) -> Transcript:
            return replace(await super().transcribe(audio, **how), text="")

    asr = HearsNothing()
    async with calling(asr=asr, options=options(partial_every_ms=60_000)) as rig:
        await give_slowly(rig, said(WORDS, pause_ms=0))
        assert len([length for length in asr.asked if length <= 20_000]) >= 3
        assert not [length for length in asr.asked if length > 24_000]


async def test_what_was_heard_in_haste_and_is_doubtful_is_heard_once_more() -> None:
    class Doubting(Asr):
        async def transcribe(self, audio: Pcm, *, hasty: bool = False, **how: Any) -> Transcript:
            heard = await super().transcribe(audio, **how)
            return replace(heard, text="hello", doubtful=True) if hasty else heard

    asr = Doubting()
    async with calling(asr=asr, options=options(partial_every_ms=60_000)) as rig:
        await give_slowly(rig, said("hello there", pause_ms=0))
        before = len(asr.asked)
        await give_slowly(rig, silence(800))
        await rig.line.wait(m.TurnTimed)
        assert len(asr.asked) == before + 2
        assert [event.text for event in rig.line.all(m.Transcribed)] == ["hello there"]


async def test_without_partials_one_transcript_is_made_at_the_pause() -> None:
    asr = Asr()
    async with calling(asr=asr, options=options(partials=False)) as rig:
        await give_slowly(rig, said(WORDS, pause_ms=0))
        assert asr.asked == []
        assert rig.line.all(m.TranscribedSoFar) == []
        await give_slowly(rig, silence(800))
        await rig.line.wait(m.TurnTimed)
        assert len(asr.asked) == 1


async def test_none_are_made_of_long_speech() -> None:
    asr = Asr()
    async with calling(asr=asr, options=options(partial_until_s=1.0)) as rig:
        await give_slowly(rig, said(WORDS + " nine ten eleven twelve"))
        await rig.line.wait(m.TurnTimed)
        assert len([length for length in asr.asked if length <= 16_000]) >= 1
        assert len([length for length in asr.asked if length > 16_000]) == 1
        assert [event.text for event in rig.line.all(m.Transcribed)] == [WORDS + " nine ten eleven twelve"]


async def test_the_llm_reads_the_first_words_before_the_last_are_said() -> None:
    async with calling(options=CallOptions(prefill=True)) as rig:
        await give_slowly(rig, said(WORDS, pause_ms=0))
        read = [text for text in rig.models.judged if text]
        assert read
        assert all(WORDS.startswith(text) for text in read)
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
        assert rig.texts()[-1] == ("assistant", f"You said: {WORDS}.")


async def test_a_model_that_fails_meanwhile_is_asked_again_at_the_pause() -> None:
    asr = Asr(fails=True)
    async with calling(asr=asr) as rig:
        await give_slowly(rig, said(WORDS, pause_ms=0))
        assert asr.asked
        asr.fails = False
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed)
        assert [event.text for event in rig.line.all(m.Transcribed)] == [WORDS]


async def test_every_turn_begins_anew() -> None:
    async with calling() as rig:
        for number, text in enumerate((WORDS, "nothing of that"), 1):
            await turn(rig, text, number)
        assert [event.text for event in rig.line.all(m.Transcribed)] == [WORDS, "nothing of that"]
