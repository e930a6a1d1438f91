"""Sessions: a call breaks off in one process, and the conversation goes on in another."""

import asyncio

import pytest

from deployments.options import Timing
from serve_app.call_options import CallOptions
from serve_app.conversation import messages as m
from serve_app.conversation.items import AnswerOptions, CallSettings, MessageItem
from serve_app.host import FAREWELL_S
from serve_app.options import IngressOptions
from serve_app.outbox import Outbox
from serve_app.sessions import SOCKET_ID, KeptSession, Sessions
from tests.agents_kit import new_host
from tests.call_kit import Rig, TestLine, answered, calling, said, synthetic_llm, turn
from tests.session_kit import Shelf, process

GREETING = CallOptions(prefill=False, greeting="Welcome.")
SLOW = synthetic_llm(Timing(first_item_ms=60_000, items_per_s=1))
"""Nobody hears an answer of it."""
HISTORY = [("user", "one"), ("assistant", "You said: one."), ("user", "two"), ("assistant", "You said: two.")]


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


async def in_room(sessions: Sessions) -> KeptSession:
    return await sessions.of_room("kitchen", "Ann")


async def two_turns(shelf: Shelf) -> None:
    async with process(shelf) as sessions, calling(session=await in_room(sessions), options=GREETING) as rig:
        await rig.line.wait(m.TurnTimed)
        await turn(rig, "one", 2)
        await turn(rig, "two", 3)


async def test_a_conversation_goes_on_in_another_process_without_a_greeting(shelf: Shelf) -> None:
    await two_turns(shelf)
    async with process(shelf) as sessions:
        session = await in_room(sessions)
        async with calling(session=session, options=GREETING) as rig:
            assert rig.texts() == [("assistant", "Welcome."), *HISTORY]
            assert (await turn(rig, "what did I say first")).text == "First you said: one."
            assert not [answer for answer in rig.line.all(m.AnswerText) if answer.text == "Welcome."]


async def test_somebody_else_in_the_room_begins_anew(shelf: Shelf) -> None:
    await two_turns(shelf)
    async with process(shelf) as sessions:
        for room, caller in (("kitchen", "Bob"), ("kitchen Ann", ""), ("hall", "Ann")):
            assert (await sessions.of_room(room, caller)).past is None


@pytest.mark.parametrize("typed", [True, False])
async def test_what_was_being_answered_is_answered(shelf: Shelf, typed: bool) -> None:
    async with process(shelf) as sessions, calling(session=await in_room(sessions), llm=SLOW) as rig:
        await broken_off(rig, typed)
    async with process(shelf) as sessions, calling(session=await in_room(sessions), options=GREETING) as rig:
        rig.line.give(said("", pause_ms=0))  # they are there
        await rig.line.wait(m.TurnTimed)
        assert answered(rig, 1).text == "You said: hello."
        assert rig.texts() == [("user", "hello"), ("assistant", "You said: hello.")]
    async with process(shelf) as sessions:
        past = (await in_room(sessions)).past
        assert past is not None
        assert not past.unanswered


async def broken_off(rig: Rig, typed: bool) -> None:
    if typed:
        rig.line.give(m.TypeText("hello"))
    else:
        rig.line.give(said("hello"))
        await rig.line.wait(m.Transcribed)
    await rig.line.state("thinking")


async def test_an_order_that_was_being_obeyed_is_obeyed(shelf: Shelf) -> None:
    """As said before: `goodbye` is no matter for the LLM."""
    async with process(shelf) as sessions:
        session = await in_room(sessions)
        session.keep([MessageItem("user", "goodbye", "audio")], CallSettings("Be brief."), unanswered=True)
        session.close(over=False)
        async with calling(session=await in_room(sessions)) as rig:
            rig.line.give(said("", pause_ms=0))
            assert (await rig.line.wait(m.CallEnded)).reason == "goodbye"


async def test_who_speaks_at_once_after_a_break_is_answered_last(shelf: Shelf) -> None:
    async with process(shelf) as sessions, calling(session=await in_room(sessions), llm=SLOW) as rig:
        await broken_off(rig, typed=False)
    async with process(shelf) as sessions, calling(session=await in_room(sessions)) as rig:
        rig.line.give(said("are you there"))
        last = ("assistant", "You said: are you there.")
        await rig.line.until(lambda: last in rig.texts() and rig.line.events[-1] == m.StateChanged("idle"), "an answer")
        assert rig.texts()[-1] == last


async def test_an_answer_that_was_asked_for_on_the_side_is_not_given_again(shelf: Shelf) -> None:
    async with process(shelf) as sessions, calling(session=await in_room(sessions), llm=SLOW) as rig:
        rig.line.give(m.CreateItem(MessageItem("user", "hello")), m.CreateAnswer(AnswerOptions(in_conversation=False)))
        await rig.line.state("thinking")
    async with process(shelf) as sessions:
        past = (await in_room(sessions)).past
        assert past is not None
        assert not past.unanswered


async def test_an_interrupted_answer_is_kept_as_it_was_heard(shelf: Shelf) -> None:
    async with process(shelf) as sessions, calling(session=await in_room(sessions), speed=1.0, paced=True) as rig:
        rig.line.give(m.TypeText("count to ten"))
        await rig.line.state("speaking")
        await asyncio.sleep(0.5)
        rig.line.give(m.StopSpeaking())
        await rig.line.wait(m.TurnTimed)
        heard = rig.texts()[-1][1]
        assert "Ten" not in heard
    async with process(shelf) as sessions:
        past = (await in_room(sessions)).past
        assert past is not None
        kept = past.items[-1]
        assert isinstance(kept, MessageItem)
        assert (kept.text, kept.status) == (heard, "incomplete")
        assert not past.unanswered


async def test_nothing_is_left_of_a_conversation_that_is_over(shelf: Shelf) -> None:
    await two_turns(shelf)
    async with process(shelf) as sessions:
        session = await in_room(sessions)
        assert session.past is not None
        session.close(over=True)
        session.keep([], CallSettings("late"), unanswered=False)  # a task that has not ended yet
    async with process(shelf) as sessions:
        assert (await in_room(sessions)).past is None


async def test_a_call_that_another_one_has_replaced_changes_nothing_any_more(shelf: Shelf) -> None:
    settings, words = CallSettings("Be brief."), [MessageItem("user", "hello")]
    async with process(shelf) as sessions:
        older = await in_room(sessions)
        older.keep(words, settings, unanswered=False)
        newer = await in_room(sessions)
        older.keep([], settings, unanswered=False)
        older.close(over=True)
        past = (await in_room(sessions)).past
        assert past is not None
        assert list(past.items) == words
        newer.close(over=False)


async def test_who_is_in_a_call_is_told_that_its_process_goes() -> None:
    host, line = new_host(), TestLine(20.0)
    host._ingress = IngressOptions(drain_s=FAREWELL_S + 0.5)
    hosted = host.admit()
    assert hosted is not None
    running = asyncio.create_task(host.run(hosted, line, Outbox(line), CallSettings("Be brief.")))
    line.give(m.TypeText("hello"))
    await line.wait(m.TurnTimed)
    await host.drained()
    await running
    assert line.all(m.GoingAway) == [m.GoingAway(0.5)]
    assert line.closed == "going away"
    assert hosted.cut


async def test_without_a_registry_nothing_is_kept() -> None:
    session = await in_room(Sessions())
    session.keep([MessageItem("user", "hello")], CallSettings("Be brief."), unanswered=False)
    session.close(over=False)
    assert (await in_room(Sessions())).past is None


async def test_a_socket_s_session_is_found_by_its_id_alone(shelf: Shelf) -> None:
    async with process(shelf) as sessions:
        own, session = await sessions.of_socket(None)
        assert SOCKET_ID.fullmatch(own)
        session.keep([MessageItem("user", "hello")], CallSettings("Be brief."), unanswered=False)
    async with process(shelf) as sessions:
        again, session = await sessions.of_socket(own)
        assert again == own
        assert session.past is not None
        for unknown in (own[:-1] + ("0" if own[-1] != "0" else "1"), "sess_", "", own + " ", "room 7 kitchen Ann"):
            other, session = await sessions.of_socket(unknown)
            assert session.past is None
            assert SOCKET_ID.fullmatch(other)
            assert other not in (own, unknown)
