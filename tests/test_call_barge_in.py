"""A call in which the caller's side makes a sound over the agent: which sounds stop it."""

import asyncio
from collections import deque
from typing import Any

import numpy as np
import pytest

from deployments.audio import resample
from deployments.contracts import Pcm, Transcript
from deployments.errors import ModelFailed
from deployments.tones import decode
from serve_app.call_options import CallOptions, ListeningOptions, TurnTakingOptions
from serve_app.conversation import messages as m
from tests.call_kit import PLAY_RATE_HZ, PacedLine, Rig, answered, calling, said, silence, speaking, statuses

WINDOW = 512  # samples


class Deaf:
    """An ASR that knows tones from noise; other sound has no words."""

    async def transcribe(self, audio: Pcm, *, language: str | None = None, **how: Any) -> Transcript:
        return Transcript(decode(audio), (), 0.0, len(audio) // 16, language or "en")


class Failing(Deaf):
    """Fails for whatever is said after the first turn."""

    turns = 0

    async def transcribe(self, audio: Pcm, *, language: str | None = None, **how: Any) -> Transcript:
        heard = await super().transcribe(audio, language=language)
        if not "count to 20".startswith(heard.text):
            raise ModelFailed("no words today")
        return heard


def noise(ms: int) -> Pcm:
    return np.random.default_rng(1).normal(0, 3000, 16 * ms).astype(np.int16)


async def resumed(rig: Rig) -> None:
    """The agent fell silent, spoke on, and said all of it."""
    await rig.line.state("held")
    await rig.line.wait(m.TurnTimed)
    assert statuses(rig) == [("completed", None)]
    assert rig.line.words(answered(rig, 1)).endswith("twenty.")
    assert len(rig.line.all(m.SpeechStarted)) == 1


async def test_a_backchannel_does_not_stop_the_agent_and_is_no_turn() -> None:
    async with calling(speed=4.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(said("mhm, i see"))
        await resumed(rig)
        assert [text for role, text in rig.texts() if role == "user"] == ["count to 20"]


async def test_the_agent_speaks_on_while_a_hum_still_sounds() -> None:
    options = CallOptions(prefill=False, turn_taking=TurnTakingOptions(hum_ms=2500, backchannel_silence_ms=2000))
    async with calling(options=options, speed=4.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(said("mhm mhm mhm mhm mhm"))
        await resumed(rig)


async def test_who_hums_and_goes_on_stops_it_and_is_heard_from_the_first_word() -> None:
    async with calling(speed=1.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        sound = said("mhm mhm and now something else")
        hum = 16 * 560  # two words, and nothing of the third
        rig.line.give(sound[:hum])
        await rig.line.state("speaking", 2)
        rig.line.give(sound[hum:])
        await rig.line.wait(m.AnswerFinished)
        assert statuses(rig) == [("cancelled", "turn_detected")]
        await rig.line.wait(m.AnswerStarted, 2)
        assert rig.texts()[2] == ("user", "mhm mhm and now something else")
        assert [s.state for s in rig.line.all(m.StateChanged)].count("held") == 2


async def test_a_word_stops_it() -> None:
    async with calling(speed=1.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(said("wait"))
        await rig.line.wait(m.AnswerFinished)
        assert statuses(rig) == [("cancelled", "turn_detected")]
        await rig.line.wait(m.AnswerStarted, 2)
        assert rig.texts()[2] == ("user", "wait")


@pytest.mark.parametrize("partials", [True, False])
async def test_the_words_that_stopped_it_are_the_first_that_are_told(partials: bool) -> None:
    never = ListeningOptions(partials=partials, partial_from_ms=60_000)
    async with calling(options=CallOptions(prefill=False, listening=never), speed=1.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        before = len(rig.line.all(m.TranscribedSoFar))
        rig.line.give(said("wait a moment please tell me something else", pause_ms=0))
        await rig.line.wait(m.AnswerFinished)
        await rig.line.wait(m.SpeechStarted, 2)
        told = [event.text for event in rig.line.all(m.TranscribedSoFar)[before:]]
        assert len(told) == partials
        assert all("wait".startswith(text) for text in told)
        rig.line.give(silence(800))
        await rig.line.wait(m.AnswerStarted, 2)
        assert rig.texts()[2] == ("user", "wait a moment please tell me something else")


async def test_where_voice_alone_decides_a_backchannel_stops_it() -> None:
    options = CallOptions(prefill=False, turn_taking=TurnTakingOptions(barge_in="voice"))
    async with calling(options=options, speed=1.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(said("mhm, i see"))
        await rig.line.wait(m.AnswerFinished)
        assert statuses(rig) == [("cancelled", "turn_detected")]


async def test_a_cough_holds_it_up() -> None:
    async with calling(asr=Deaf(), speed=4.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(noise(400), silence(600))
        await resumed(rig)


async def test_noise_without_end_holds_it_up_once() -> None:
    async with calling(asr=Deaf(), speed=4.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(noise(6000), silence(1000))
        await resumed(rig)
        assert len([s for s in rig.line.all(m.StateChanged) if s.state == "held"]) == 1


async def test_without_an_asr_the_voice_decides() -> None:
    async with calling(asr=Failing(), speed=1.0) as rig:
        rig.line.give(said("count to 20"))
        await speaking(rig)
        rig.line.give(said("mhm, i see"))
        await rig.line.wait(m.AnswerFinished)
        assert statuses(rig) == [("cancelled", "turn_detected")]


LATE = CallOptions(prefill=False, turn_taking=TurnTakingOptions(early_pause=False))


@pytest.mark.parametrize("paced", [False, True])
async def test_without_the_early_pause_it_speaks_on_through_what_is_no_interruption(paced: bool) -> None:
    async with calling(options=LATE, speed=4.0, paced=paced) as rig:
        rig.line.give(said("count to 20"))
        await rig.line.state("speaking")
        rig.line.give(said("mhm, i see"))
        timed = await rig.line.wait(m.TurnTimed)
        assert statuses(rig) == [("completed", None)]
        assert "held" not in [s.state for s in rig.line.all(m.StateChanged)]
        assert "playout_paused" not in str(timed.timeline["moments"])
        if isinstance(rig.line, PacedLine):
            spoken = decode(np.concatenate(rig.line.frames), PLAY_RATE_HZ)
        else:
            spoken = rig.line.words(answered(rig, 1))
        assert spoken.endswith("nineteen twenty.")
        assert spoken.lower().split().count("one") == 1  # it did not begin anew


@pytest.mark.parametrize("paced", [False, True])
async def test_without_the_early_pause_an_interruption_stops_it(paced: bool) -> None:
    async with calling(options=LATE, speed=1.0, paced=paced) as rig:
        rig.line.give(said("count to 20"))
        await rig.line.state("speaking")
        rig.line.give(said("wait"))
        await rig.line.wait(m.AnswerFinished)
        assert statuses(rig) == [("cancelled", "turn_detected")]
        await rig.line.wait(m.AnswerStarted, 2)
        assert rig.texts()[2] == ("user", "wait")


def echoing(line: PacedLine, delay_frames: int = 10) -> None:
    """From now on the caller's side hears what it plays 200 ms later, 14 dB softer, and nothing else."""
    on_its_way: deque[Pcm] = deque([silence(20)] * delay_frames)
    next_frame = line.next_frame

    def play() -> Pcm | None:
        frame = next_frame()
        on_its_way.append(silence(20) if frame is None else resample(frame // 5, PLAY_RATE_HZ, 16_000))
        line.give(on_its_way.popleft())
        return frame

    line.speak_from(play)


async def test_the_agents_own_echo_hardly_holds_it_up_and_is_no_turn() -> None:
    async with calling(speed=1.0, paced=True) as rig:
        assert isinstance(rig.line, PacedLine)
        rig.line.give(said("count to 20"))
        await rig.line.state("speaking")
        echoing(rig.line)
        await rig.line.wait(m.TurnTimed)
        assert statuses(rig) == [("completed", None)]
        await asyncio.sleep(0.8)  # the last words come back when the agent is done
        assert decode(np.concatenate(rig.line.frames), PLAY_RATE_HZ).endswith("twenty.")
        assert len(rig.line.all(m.SpeechStarted)) == 1
        # One or two of twenty words, and a few more where the loop is late, and what was played is not where it seems.
        assert len([s for s in rig.line.all(m.StateChanged) if s.state == "held"]) <= 5


async def test_a_caller_who_speaks_over_a_known_echo_stops_the_agent() -> None:
    async with calling(speed=1.0, paced=True) as rig:
        assert isinstance(rig.line, PacedLine)
        rig.line.give(said("count to 100"))
        await rig.line.state("speaking")
        echoing(rig.line)
        await rig.line.state("speaking", 2)  # the echo is known
        rig.line.give(said("stop that please"))
        await rig.line.wait(m.SpeechStarted, 2)
        assert (await rig.line.wait(m.TurnTimed)).timeline["outcome"] == "interrupted"


ALL_IS_ECHO = CallOptions(prefill=False, turn_taking=TurnTakingOptions(echo_likeness=0, echo_doubt=0))


@pytest.mark.parametrize("before", [None, "wait a moment"])
async def test_an_order_to_be_silent_is_obeyed_though_it_is_taken_for_an_echo(before: str | None) -> None:
    async with calling(options=ALL_IS_ECHO, speed=1.0, paced=True) as rig:
        rig.line.give(said("count to 100"))
        await rig.line.state("speaking")
        if before is not None:
            rig.line.give(said(before))
            await rig.line.state("speaking", 2)
        rig.line.give(said("stop"), silence(1000))
        await rig.line.wait(m.AnswerFinished)
        assert statuses(rig)[0][0] == "cancelled"


@pytest.mark.parametrize(("words", "outcome"), [("seven", "answered"), ("six seven eight nine no", "interrupted")])
async def test_the_agents_own_words_are_an_echo_unless_they_go_on(words: str, outcome: str) -> None:
    async with calling(speed=1.0, paced=True) as rig:
        rig.line.give(said("count to 20"))
        await rig.line.until(lambda: "seven" in rig.call.stage.history.last_answer(), "words to be repeated")
        rig.line.give(said(words))
        assert (await rig.line.wait(m.TurnTimed)).timeline["outcome"] == outcome


async def test_other_words_that_are_taken_for_an_echo_are_none() -> None:
    async with calling(options=ALL_IS_ECHO, speed=1.0, paced=True) as rig:
        rig.line.give(said("count to 20"))
        await rig.line.state("speaking")
        rig.line.give(said("never mind"), silence(1000))
        await rig.line.wait(m.TurnTimed)
        assert statuses(rig) == [("completed", None)]


async def test_what_the_agent_says_itself_is_no_order() -> None:
    async with calling(speed=4.0) as rig:
        rig.line.give(said("bus stop"))
        await rig.line.wait(m.TurnTimed)
        assert "stop" in rig.texts()[1][1]
        assert not rig.call.manners.orders_silence("Stop.")
        assert rig.call.manners.orders_silence("Be quiet!")
        assert not rig.call.manners.orders_silence("")
        rig.line.give(said("the bus stopped"))
        await rig.line.wait(m.TurnTimed, 2)
        assert rig.call.manners.orders_silence("Stop.")


async def test_one_window_of_voice_silences_an_agent_who_speaks_and_is_nothing_where_none_does() -> None:
    async with calling(speed=2.0) as rig:
        rig.line.give(a_window(rig), silence(300), said("count to 20"))
        await speaking(rig)
        assert len(rig.line.all(m.SpeechStarted)) == 1
        rig.line.give(a_window(rig), silence(600))
        await resumed(rig)


def a_window(rig: Rig) -> Pcm:
    """Noise that fills exactly one window of the voice detector, after the silence that it takes to get there."""
    begun = rig.call.ear.memory.next_sample % WINDOW
    return np.concatenate([np.zeros(-begun % WINDOW, np.int16), noise(1000)[:WINDOW]])
