"""What the agent says in a call without the LLM: its greeting, the filler, its questions and its last words."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from deployments.contracts import LlmItem, Message, ToolCall
from deployments.options import Timing
from deployments.tones import decode
from serve_app.call_options import CallOptions, PhraseOptions, SilenceOptions
from serve_app.conversation import messages as m
from serve_app.conversation.items import AnswerOptions, MessageItem, SemanticVad, ServerVad
from serve_app.conversation.turns import State
from serve_app.manners import LAST_WORD_S
from tests.call_kit import (
    BRIEF,
    PATIENCE_S,
    PLAY_RATE_HZ,
    PacedLine,
    Rig,
    answered,
    calling,
    roles,
    said,
    silence,
    speaking,
    statuses,
    synthetic_llm,
    turn,
)

GREETING = CallOptions(prefill=False, greeting="Hello, you.")
LATE = Timing(first_item_ms=200, items_per_s=10_000)
FILLING = CallOptions(prefill=False, filler="One moment.", filler_after_ms=0)
ASKING = CallOptions(prefill=False, silence=SilenceOptions(still_there_after_s=2.0), goodbye="Bye then.")


def heard(rig: Rig) -> str:
    """Everything that a line with a clock has played."""
    assert isinstance(rig.line, PacedLine)
    return decode(np.concatenate([np.zeros(0, np.int16), *rig.line.frames]), PLAY_RATE_HZ)


async def ended(rig: Rig) -> str | None:
    """The agent has ended the call; why."""
    event = await rig.line.wait(m.CallEnded)
    async with asyncio.timeout(PATIENCE_S):
        await rig.task
    assert rig.call.ended == event.reason
    return rig.call.ended


# --- the greeting


async def test_the_agent_greets_and_the_llm_knows_it() -> None:
    async with calling(options=GREETING) as rig:
        rig.line.give(silence(100))
        await rig.line.wait(m.TurnTimed)
        assert rig.line.words(answered(rig, 1)) == "hello, you."
        await turn(rig, "hello", 2)
        assert list(roles(rig.models.prompts[0])) == [
            ("system", "Be brief."),
            ("assistant", "Hello, you."),
            ("user", "hello"),
        ]


async def test_a_greeting_in_a_voice_that_has_no_sound_yet_is_spoken_by_the_tts() -> None:
    async with calling(replace(BRIEF, speed=1.2), options=GREETING) as rig:
        rig.line.give(silence(100))
        await rig.line.wait(m.TurnTimed)
        assert rig.line.words(answered(rig, 1)).replace(" ", "") == "hello,you."
        async with asyncio.timeout(PATIENCE_S):
            while not rig.call.stage.stock.has(None, 1.2):  # noqa: ASYNC110  that it is made makes no event
                await asyncio.sleep(0.01)


async def test_who_speaks_first_is_not_greeted() -> None:
    async with calling(options=GREETING) as rig:
        rig.line._inputs.put_nowait(said("hello"))
        await rig.line.wait(m.TurnTimed)
        assert rig.texts() == [("user", "hello"), ("assistant", "You said: hello.")]


async def test_a_greeting_can_be_interrupted() -> None:
    greeting = CallOptions(prefill=False, greeting="hello " * 20)
    async with calling(options=greeting, speed=1.0, paced=True) as rig:
        rig.line.give(silence(100))
        await rig.line.state("speaking")
        rig.line.give(said("wait"))
        assert (await rig.line.wait(m.TurnTimed)).timeline["outcome"] == "interrupted"
        assert answered(rig, 1).status == "incomplete"
        assert len(answered(rig, 1).text) < 60  # of 120


# --- the filler


async def test_a_late_answer_begins_with_the_filler_which_the_llm_never_sees() -> None:
    async with calling(options=FILLING, llm=synthetic_llm(LATE)) as rig:
        await turn(rig, "hello")
        filler, answer = rig.line.all(m.AnswerFinished)[0].answer.items
        assert isinstance(filler, MessageItem)
        assert isinstance(answer, MessageItem)
        assert rig.line.words(filler) == "one moment."
        assert rig.line.words(answer).replace(" ", "") == "yousaid:hello."
        assert list(rig.line.played) == [filler.id, answer.id]
        assert [filler.status, answer.status] == ["completed", "completed"]
        assert ("assistant", "One moment.") in rig.texts()
        await turn(rig, "again", 2)
        assert "One moment." not in [text for prompt in rig.models.prompts for _, text in roles(prompt)]


async def test_the_filler_is_no_answer_to_the_clock() -> None:
    async with calling(options=FILLING, llm=synthetic_llm(LATE)) as rig:
        await turn(rig, "hello")
        timeline: Any = rig.line.all(m.TurnTimed)[0].timeline
        moments = {moment["name"]: moment["at_ms"] for moment in timeline["moments"]}
        assert moments["first_frame_sent"] >= moments["tts_first_audio"]


async def test_an_answer_in_time_has_no_filler() -> None:
    slow_to_end = synthetic_llm(Timing(first_item_ms=0, items_per_s=25))
    options = CallOptions(prefill=False, filler_after_ms=400, first_phrase_alone=False)
    async with calling(options=options, llm=slow_to_end) as rig:
        await turn(rig, "count to 20")
        [answer] = rig.line.all(m.AnswerFinished)[0].answer.items
        assert isinstance(answer, MessageItem)
        assert answer.text.endswith("twenty.")


async def test_a_filler_that_is_not_made_yet_is_left_out() -> None:
    async with calling(replace(BRIEF, speed=1.2), options=FILLING, llm=synthetic_llm(LATE)) as rig:
        rig.call.stage.stock._making.add(("One moment.", None, 1.2))  # another call is about it
        await turn(rig, "hello")
        assert len(rig.line.all(m.AnswerFinished)[0].answer.items) == 1


async def test_no_filler_is_said_while_somebody_keeps_the_agent_silent() -> None:
    async with calling(options=FILLING, llm=synthetic_llm(LATE)) as rig:
        rig.line.give(m.PauseSpeaking(), said("hello"))
        await rig.line.state("thinking")
        await asyncio.sleep(0.1)
        rig.line.give(m.ResumeSpeaking())
        await rig.line.wait(m.TurnTimed)
        assert len(rig.line.all(m.AnswerFinished)[0].answer.items) == 1


async def test_one_turn_has_one_filler_however_many_answers_it_needs() -> None:
    class Asks:
        """Calls a tool, late; answers when it knows what that gave."""

        async def generate(self, messages: Sequence[Message], **options: Any) -> AsyncGenerator[LlmItem, None]:
            if messages[-1].role == "user":
                await asyncio.sleep(0.15)
                yield ToolCall("call_1", "look", "{}")
            async for item in synthetic_llm(LATE).generate(messages, **options):
                yield item

        async def sentence_end(self, messages: Sequence[Message], **options: Any) -> float | None:
            return None

    async with calling(options=FILLING, llm=Asks()) as rig:
        await turn(rig, "hello")
        rig.line.give(m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.TurnTimed, 2)
        said_aside = [i for i in rig.call.stage.history.items if isinstance(i, MessageItem) and i.aside]
        assert len(said_aside) == 1
        rig.line.give(said("and now"))
        await rig.line.wait(m.TurnTimed, 3)
        said_aside = [i for i in rig.call.stage.history.items if isinstance(i, MessageItem) and i.aside]
        assert len(said_aside) == 2


async def test_who_speaks_over_the_filler_stops_it_and_its_answer() -> None:
    options = CallOptions(prefill=False, filler="well " * 20, filler_after_ms=0)
    never = synthetic_llm(Timing(first_item_ms=1e6))
    async with calling(options=options, llm=never, speed=1.0, paced=True) as rig:
        rig.line.give(said("hello"))
        await rig.line.state("speaking")
        rig.line.give(said("wait", pause_ms=100))
        finished = await rig.line.wait(m.AnswerFinished)
        assert statuses(rig) == [("cancelled", "turn_detected")]
        [filler] = finished.answer.items
        assert filler.status == "incomplete"
        [done] = [e.item for e in rig.line.all(m.ItemDone) if e.answer is not None]
        assert done is filler
        frames = len(rig.line.frames) if isinstance(rig.line, PacedLine) else 0
        assert frames < 60  # of the 300 that it has


# --- silence


async def test_a_silent_caller_is_asked_and_then_left() -> None:
    async with calling(options=ASKING, speed=20.0) as rig:
        rig.line.give(silence(1900))
        rig.line.give(m.RetrieveItem("a mark"))
        await rig.line.wait(m.Problem)
        assert not rig.line.all(m.AnswerStarted)
        rig.line.give(silence(200))
        await rig.line.wait(m.TurnTimed)
        assert rig.line.words(answered(rig, 1)) == "are you still there?"
        rig.line.give(silence(2100))
        assert await ended(rig) == "silence"
        assert rig.line.words(answered(rig, 2)) == "bye then."
        assert not rig.models.prompts
        last = [event for event in rig.line.events if not isinstance(event, m.StateChanged)][-1]
        assert last == m.CallEnded("silence")


async def test_a_caller_who_is_there_after_all_is_asked_again_later() -> None:
    async with calling(options=ASKING, speed=20.0) as rig:
        rig.line.give(silence(2100))
        await rig.line.wait(m.TurnTimed)
        await turn(rig, "yes i am", 2)
        rig.line.give(silence(2100))
        await rig.line.wait(m.TurnTimed, 3)
        assert answered(rig, 3).text == "Are you still there?"
        assert rig.call.ended is None


async def test_a_caller_who_speaks_over_the_goodbye_keeps_the_call() -> None:
    options = CallOptions(prefill=False, silence=ASKING.silence, goodbye="well " * 20)
    async with calling(options=options, speed=1.0) as rig:
        rig.line.give(silence(2100))
        await rig.line.wait(m.TurnTimed)
        rig.line.give(silence(2100))
        await speaking(rig, 2)
        rig.line.give(said("wait, i am here"))
        await rig.line.wait(m.AnswerStarted, 3)
        assert not rig.line.all(m.CallEnded)
        assert rig.call.ended is None


async def test_who_answers_the_question_with_a_sound_is_there() -> None:
    async with calling(options=ASKING, speed=2.0) as rig:
        rig.line.give(silence(2100))
        await speaking(rig)
        rig.line.give(said("mhm", pause_ms=600))
        await rig.line.wait(m.TurnTimed)
        rig.line.give(silence(2100))
        await rig.line.wait(m.TurnTimed, 2)
        assert answered(rig, 2).text == "Are you still there?"


async def test_who_speaks_right_after_the_goodbye_keeps_the_call() -> None:
    async with calling(options=ASKING) as rig:
        rig.line.give(silence(2100))
        await rig.line.wait(m.TurnTimed)
        rig.line.give(silence(2100))
        await rig.line.wait(m.TurnTimed, 2)
        rig.line.give(said("wait", pause_ms=0))
        await rig.line.state("hearing")
        await asyncio.sleep(LAST_WORD_S + 0.1)
        rig.line.give(silence(800))
        await rig.line.wait(m.TurnTimed, 3)
        assert answered(rig, 3).text == "You said: wait."
        assert not rig.line.all(m.CallEnded)


async def test_where_the_clients_own_timeout_or_will_decides_nobody_is_asked() -> None:
    for detection in (ServerVad(idle_timeout_ms=5000), SemanticVad(create_response=False)):
        async with calling(replace(BRIEF, turn_detection=detection), options=ASKING) as rig:
            rig.line.give(silence(6000), m.RetrieveItem("a mark"))
            await rig.line.wait(m.Problem)
            assert not rig.line.all(m.AnswerStarted)


# --- words that are orders


async def test_stop_silences_the_agent_and_is_not_answered() -> None:
    async with calling(speed=1.0) as rig:
        rig.line.give(said("count to 50"))
        await speaking(rig)
        rig.line.give(said("stop."))
        await rig.line.wait(m.TurnTimed, 2)
        assert [timed.timeline["outcome"] for timed in rig.line.all(m.TurnTimed)] == ["interrupted", "unanswered"]
        assert len(rig.line.all(m.AnswerStarted)) == 1
        assert rig.texts()[-1] == ("user", "stop.")
        assert [e.text for e in rig.line.all(m.Transcribed)] == ["count to 50", "stop."]
        assert rig.call.state is State.IDLE


async def test_what_was_said_is_said_again_without_the_llm() -> None:
    async with calling() as rig:
        await turn(rig, "my cat is old")
        asked = len(rig.models.prompts)
        item = await turn(rig, "say that again?", 2)
        assert rig.line.words(item).replace(" ", "") == "yousaid:mycatisold."
        assert rig.texts()[2:] == [("user", "say that again?"), ("assistant", "You said: my cat is old.")]
        assert len(rig.models.prompts) == asked
        assert "say that again?" not in rig.models.judged


async def test_with_nothing_to_repeat_the_llm_answers() -> None:
    async with calling() as rig:
        assert (await turn(rig, "repeat that")).text == "You said: repeat that."


async def test_goodbye_ends_the_call() -> None:
    async with calling() as rig:
        rig.line.give(said("goodbye", pause_ms=300))  # it is certainly all that is said
        assert await ended(rig) == "goodbye"
        assert rig.texts() == [("user", "goodbye"), ("assistant", "Goodbye.")]
        assert rig.line.words(answered(rig, 1)) == "goodbye."
        assert not rig.models.prompts


async def test_without_last_words_goodbye_ends_the_call_in_silence() -> None:
    async with calling(options=CallOptions(prefill=False, goodbye="")) as rig:
        rig.line.give(said("goodbye."))
        assert await ended(rig) == "goodbye"
        assert not rig.line.all(m.AnswerStarted)


async def test_an_order_within_a_sentence_or_switched_off_is_words_as_others() -> None:
    options = CallOptions(prefill=False, phrases=PhraseOptions(stop=()))
    async with calling(options=options) as rig:
        assert (await turn(rig, "say goodbye to her")).text == "You said: say goodbye to her."
        assert (await turn(rig, "stop", 2)).text == "You said: stop."


async def test_a_client_that_answers_by_itself_is_not_obeyed_for() -> None:
    detection = SemanticVad(create_response=False)
    async with calling(replace(BRIEF, turn_detection=detection)) as rig:
        rig.line.give(said("goodbye"))
        await rig.line.wait(m.Transcribed)
        rig.line.give(m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.TurnTimed)
        assert answered(rig, 1).text == "You said: goodbye."
        assert rig.call.ended is None
