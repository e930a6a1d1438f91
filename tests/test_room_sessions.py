"""Conversations in rooms that outlive their agents, and those that are over: on a real LiveKit server, without Ray."""

from collections.abc import Awaitable, Callable

import pytest
from livekit import api, rtc

from loadtest.room_ticket import Keys, fresh
from serve_app.call import Call
from serve_app.conversation.items import MessageItem
from serve_app.host import FAREWELL_S
from serve_app.options import IngressOptions
from serve_app.rooms.agents import Reserved
from serve_app.rooms.roll import Join
from serve_app.transports.livekit_joining import Ticket
from tests.agents_kit import Near, Replica, caller, delete, keeping, met, options, replica, until
from tests.session_kit import Shelf, process

pytestmark = pytest.mark.timeout(90)

End = Callable[[Replica, rtc.Room, Reserved], Awaitable[None]]
SAID = [("user", "hello"), ("assistant", "You said: hello.")]


def said(call: Call) -> list[tuple[str, str]]:
    return [(item.role, item.text) for item in call.stage.history.items if isinstance(item, MessageItem)]


async def talked(one: Replica, there: rtc.Room) -> Call:
    """One turn of a conversation: typed, answered, and heard to its end."""
    await met(there)
    (hosted,) = one.host.calls.values()
    await until(lambda: hosted.call is not None, "a call")
    call = hosted.call
    assert call is not None
    await there.local_participant.send_text("hello", topic="lk.chat")
    await until(lambda: said(call) == SAID and call.reply is None, "an answer")
    return call


async def test_a_call_that_is_cut_because_its_replica_goes_goes_on_in_another(livekit_keys: Keys) -> None:
    chosen, room, shelf = options(livekit_keys), fresh("room"), Shelf()
    async with (
        keeping(chosen) as keeper,
        process(shelf) as first,
        process(shelf) as second,
        replica(chosen, Near(keeper), sessions=first) as one,
    ):
        await until(lambda: "one" in keeper._lines, "an open line")
        async with caller(livekit_keys, room) as there:
            await keeper.place(Join(room))
            await talked(one, there)
            async with replica(chosen, Near(keeper), name="two", sessions=second) as two:
                await until(lambda: "two" in keeper._lines, "the other line")
                one.host._ingress = IngressOptions(drain_s=FAREWELL_S)
                await one.host.drained()
                await until(lambda: any(hosted.call for hosted in two.host.calls.values()), "a call elsewhere")
                (hosted,) = two.host.calls.values()
                assert hosted.call is not None
                assert said(hosted.call) == SAID
                assert two.agents.stays[room].caller == there.local_participant.identity
                await delete(livekit_keys, room)
                await until(lambda: not two.taken, "the call's end")
                await until(lambda: not shelf._kept, "an end of what is kept")


async def hang_up(one: Replica, there: rtc.Room, place: Reserved) -> None:
    await there.disconnect()


async def delete_room(one: Replica, there: rtc.Room, place: Reserved) -> None:
    await one.server._service().room.delete_room(api.DeleteRoomRequest(room=place.stay.room))


async def dismiss(one: Replica, there: rtc.Room, place: Reserved) -> None:
    one.agents.dismiss(place)


async def lose(one: Replica, there: rtc.Room, place: Reserved) -> None:
    """The agent's own connection breaks for good."""
    assert place.room is not None
    place.room.line.room.emit("disconnected", rtc.DisconnectReason.SIGNAL_CLOSE)


async def break_call(one: Replica, there: rtc.Room, place: Reserved) -> None:
    assert place.hosted.call is not None

    async def break_down() -> None:
        raise RuntimeError("a fault of ours")

    place.hosted.call.spawn(break_down())


@pytest.mark.parametrize(
    ("end", "kept"), [(hang_up, False), (delete_room, False), (dismiss, False), (lose, True), (break_call, True)]
)
async def test_a_conversation_is_kept_until_it_is_over(livekit_keys: Keys, end: End, kept: bool) -> None:
    shelf, room = Shelf(), fresh("room")
    async with process(shelf) as sessions, replica(options(livekit_keys), sessions=sessions) as one:
        place = one.agents.reserve(room)
        assert place is not None
        async with caller(livekit_keys, room) as there:
            await one.agents.begin(place, Ticket(one.server.url, one.server.agent_token(room, place.badge)))
            await talked(one, there)
            await until(lambda: bool(shelf._kept), "a conversation that is kept")
            await end(one, there, place)
            await until(lambda: not one.taken, "the call's end")
    assert bool(shelf._kept) is kept
