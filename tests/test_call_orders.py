import asyncio
from dataclasses import replace
from typing import Any

from deployments.contracts import Tool
from deployments.options import Timing
from deployments.tones import encode
from serve_app.conversation import messages as m
from serve_app.conversation.items import (
    AnswerOptions,
    FunctionCallItem,
    FunctionOutputItem,
    MessageItem,
    ServerVad,
)
from serve_app.conversation.turns import State
from tests.call_kit import (
    BRIEF,
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


async def test_create_response_false_waits_for_the_order() -> None:
    async with calling(replace(BRIEF, turn_detection=ServerVad(create_response=False))) as rig:
        rig.line.give(said("hello"))
        await rig.line.wait(m.Transcribed)
        assert not rig.models.prompts
        rig.line.give(m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.TurnTimed)
        assert answered(rig, 1).text == "You said: hello."


async def test_turns_and_items_reach_the_prompt_in_their_order() -> None:
    async with calling(replace(BRIEF, turn_detection=ServerVad(create_response=False))) as rig:
        rig.line.give(said("one."), said("two."), m.CreateItem(MessageItem("user", "three")))
        rig.line.give(m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.AnswerFinished)
        assert list(roles(rig.models.prompts[0]))[1:] == [("user", "one."), ("user", "two."), ("user", "three")]


async def test_without_turn_detection_the_caller_says_when() -> None:
    async with calling(replace(BRIEF, turn_detection=None)) as rig:
        rig.line.give(said("hello"), m.CommitAudio(), m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.TurnTimed)
        assert rig.texts() == [("user", "hello"), ("assistant", "You said: hello.")]
        assert not rig.line.all(m.SpeechStarted)


async def test_switching_turn_detection_off_keeps_the_audio_for_a_commit() -> None:
    async with calling() as rig:
        rig.line.give(said("hel", pause_ms=0), m.Configure(replace(BRIEF, turn_detection=None)))
        rig.line.give(encode("lo", 16_000), m.CommitAudio())
        assert (await rig.line.wait(m.Transcribed)).text == "hello"


async def test_a_commit_needs_audio() -> None:
    async with calling() as rig:
        rig.line.give(silence(500), m.ClearAudio(), silence(40), m.CommitAudio(ref="e1"))
        problem = await rig.line.wait(m.Problem)
        assert (problem.code, problem.ref) == ("input_audio_buffer_commit_empty", "e1")
        assert "empty" in problem.message
        assert rig.line.all(m.AudioCleared)


async def test_clearing_forgets_what_was_said() -> None:
    async with calling() as rig:
        rig.line.give(said("wrong", pause_ms=0), m.ClearAudio(), silence(1000))
        await rig.line.wait(m.AudioCleared)
        assert (await turn(rig, "right")).text == "You said: right."
        assert rig.texts()[0] == ("user", "right")


async def test_items_are_retrieved_deleted_and_wrong_ids_named() -> None:
    item = MessageItem("user", "hello", id="item_1")
    async with calling() as rig:
        rig.line.give(m.CreateItem(item), m.RetrieveItem("item_1"), m.DeleteItem("item_1"), m.DeleteItem("item_1", "e"))
        problem = await rig.line.wait(m.Problem)
        assert rig.line.all(m.ItemRetrieved) == [m.ItemRetrieved(item)]
        assert rig.line.all(m.ItemDeleted) == [m.ItemDeleted("item_1")]
        assert "'item_1'" in problem.message
        assert (problem.code, problem.ref) == ("item_not_found", "e")
        assert rig.texts() == []


async def test_truncating_an_answer_stops_it_and_keeps_what_the_client_says_was_heard() -> None:
    async with calling(speed=1.0) as rig:
        rig.line.give(said("count to 50"))
        await speaking(rig)
        item_id = next(iter(rig.line.played))
        rig.line.give(m.TruncateItem(item_id, 7, 100), m.TruncateItem(item_id, 0, 9_999_999))
        await rig.line.wait(m.Problem, 2)
        assert rig.call.reply is not None  # wrong orders change nothing
        rig.line.give(m.TruncateItem(item_id, 0, 0))
        await rig.line.wait(m.ItemTruncated)
        assert rig.texts()[1] == ("assistant", "")
        assert statuses(rig) == [("cancelled", "client_cancelled")]
        assert rig.call.state is State.IDLE


async def test_truncating_what_was_all_sent_ends_its_playing() -> None:
    async with calling(speed=0.2) as rig:
        rig.line.give(said("hello"))
        await rig.line.wait(m.AnswerFinished)
        rig.line.give(m.TruncateItem(answered(rig, 1).id, 0, 600))
        await rig.line.wait(m.TurnTimed)
        assert rig.call.state is State.IDLE
        assert rig.texts()[1] == ("assistant", "You said:")
        assert statuses(rig) == [("completed", None)]


async def test_cancel_stops_the_answer_and_is_refused_when_there_is_none() -> None:
    async with calling(speed=1.0) as rig:
        rig.line.give(m.CancelAnswer())
        assert "cancel" in (await rig.line.wait(m.Problem)).message
        rig.line.give(said("count to 50"))
        await speaking(rig)
        rig.line.give(m.CancelAnswer("resp_other"), m.CancelAnswer())
        await rig.line.wait(m.AnswerFinished)
        assert len(rig.line.all(m.Problem)) == 2
        assert statuses(rig) == [("cancelled", "client_cancelled")]
        assert rig.call.state is State.IDLE


async def test_an_answer_that_was_asked_for_can_be_cancelled_before_its_first_word() -> None:
    async with calling(llm=synthetic_llm(Timing(first_item_ms=60_000))) as rig:
        rig.line.give(m.CreateItem(MessageItem("user", "hi")), m.CreateAnswer(AnswerOptions()), m.CancelAnswer())
        await rig.line.wait(m.TurnTimed)
        assert [type(e).__name__ for e in rig.line.events if isinstance(e, m.AnswerStarted | m.AnswerFinished)] == [
            "AnswerStarted",
            "AnswerFinished",
        ]
        assert statuses(rig) == [("cancelled", "client_cancelled")]


async def test_a_second_answer_is_refused_while_one_is_made_and_welcome_once_it_is_sent() -> None:
    async with calling(speed=0.2) as rig:
        rig.line.give(m.CreateItem(MessageItem("user", "one")))
        rig.line.give(m.CreateAnswer(AnswerOptions()), m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.AnswerFinished)
        assert [p.code for p in rig.line.all(m.Problem)] == ["conversation_already_has_active_response"]
        rig.line.give(m.CreateItem(MessageItem("user", "two")), m.CreateAnswer(AnswerOptions()))  # it still plays
        await rig.line.wait(m.AnswerFinished, 2)
        assert answered(rig, 2).text == "You said: two."


async def test_a_tool_is_called_and_its_output_spoken() -> None:
    tool = Tool("get_weather", parameters={"type": "object", "properties": {}, "required": []})
    async with calling(replace(BRIEF, tools=(tool,))) as rig:
        rig.line.give(said("get weather in bern"))
        arguments = await rig.line.wait(m.ToolArguments)
        assert isinstance(arguments.item, FunctionCallItem)
        call_id = arguments.item.call.call_id
        await rig.line.wait(m.AnswerFinished)
        rig.line.give(m.CreateItem(FunctionOutputItem(call_id, "rain")), m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.AnswerFinished, 2)
        assert answered(rig, 2).text == "The answer is rain."
        assert "rain" in rig.line.words(answered(rig, 2))


async def test_an_order_that_follows_the_end_of_an_answer_at_once_is_obeyed() -> None:
    """A client may answer `AnswerFinished` before the call has noticed that everything is sent."""

    async with calling(replace(BRIEF, output="text")) as rig:
        rig.line.give(m.CreateItem(MessageItem("user", "one")), m.CreateAnswer(AnswerOptions()))
        await rig.line.until(lambda: rig.call.reply is not None, "an answer")
        reply = rig.call.reply
        assert reply is not None
        while not reply.finished:  # noqa: ASYNC110  to be the first who sees it
            await asyncio.sleep(0)
        assert rig.call.state is State.THINKING
        rig.call.request_answer(AnswerOptions())
        await rig.line.wait(m.TurnTimed, 2)
        assert statuses(rig) == [("completed", None)] * 2


async def test_text_is_answered_in_text() -> None:
    async with calling(replace(BRIEF, output="text")) as rig:
        rig.line.give(m.CreateItem(MessageItem("user", "hello **you**")), m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.TurnTimed)
        assert answered(rig, 1).text == "You said: hello **you**."
        assert answered(rig, 1).modality == "text"
        assert not rig.line.played
        timeline: Any = rig.line.all(m.TurnTimed)[0].timeline
        assert "tts_finished" not in {moment["name"] for moment in timeline["moments"]}


async def test_an_answer_may_stay_out_of_the_conversation_and_have_its_own_prompt() -> None:
    mine = MessageItem("user", "only this")
    options = AnswerOptions(instructions="Whisper.", input=(mine,), in_conversation=False, output="text")
    async with calling() as rig:
        rig.line.give(m.CreateItem(MessageItem("user", "not this")), m.CreateAnswer(options))
        await rig.line.wait(m.TurnTimed)
        assert list(roles(rig.models.prompts[0])) == [("system", "Whisper."), ("user", "only this")]
        assert rig.texts() == [("user", "not this")]


async def test_too_long_an_answer_is_cut_and_says_so() -> None:
    async with calling(replace(BRIEF, max_output_tokens=4)) as rig:
        item = await turn(rig, "count to 50")
        assert item.text == "One two three four"
        assert statuses(rig) == [("incomplete", "max_output_tokens")]


async def test_a_recorded_message_is_transcribed_before_it_is_answered() -> None:
    message = MessageItem("user", "", "audio", audio=said("a tape"))
    async with calling() as rig:
        rig.line.give(m.CreateItem(message), m.CreateAnswer(AnswerOptions()))
        await rig.line.wait(m.TurnTimed)
        assert [(e.item_id, e.text) for e in rig.line.all(m.Transcribed)] == [(message.id, "a tape")]
        assert answered(rig, 1).text == "You said: a tape."


async def test_a_recorded_message_in_an_answers_own_prompt_is_transcribed() -> None:
    options = AnswerOptions(input=(MessageItem("user", "", "audio", audio=said("a tape")),))
    async with calling() as rig:
        rig.line.give(m.CreateAnswer(options))
        await rig.line.wait(m.TurnTimed)
        assert answered(rig, 1).text == "You said: a tape."


async def test_the_agent_asks_a_silent_caller_once() -> None:
    detection = ServerVad(idle_timeout_ms=5000)
    async with calling(replace(BRIEF, turn_detection=detection)) as rig:
        rig.line.give(silence(6000))
        item = await turn(rig, "hello")
        assert not rig.line.all(m.IdleTimedOut)  # nobody has spoken to the caller before
        rig.line.give(silence(5200))
        timeout = await rig.line.wait(m.IdleTimedOut)
        assert 5000 <= timeout.audio_end_ms - timeout.audio_start_ms < 5100
        await rig.line.wait(m.TurnTimed, 2)
        assert item.text == "You said: hello."
        assert rig.models.prompts[-1][-1].role == "system"
        assert "silent" in rig.models.prompts[-1][-1].text
