"""Calls in LiveKit rooms, with a real LiveKit server and the system without models."""

import asyncio
import json

import httpx
import pytest
from livekit import api, rtc

from loadtest.recording import RATE_HZ
from loadtest.room_caller import RoomCaller
from loadtest.room_facts import Refused
from loadtest.room_ticket import Keys, fresh
from loadtest.wire import CallFailed
from tests.live.rooms_kit import (
    PATIENCE_S,
    a_room,
    agents_in,
    alike,
    ask,
    in_room,
    keys,
    livekit,
    nobody_is_left,
    said,
    sounds_like,
    ticket_of,
    type_to,
    until,
    with_ticket,
)
from tests.system import System

pytestmark = pytest.mark.timeout(300)


async def test_a_token_made_elsewhere_brings_the_agent_and_it_answers(demo_rooms: System) -> None:
    async with in_room(demo_rooms, instructions="Be brief.") as caller:
        answer = await ask(caller, "hello there")
        assert alike(answer.heard, "hello there")
        assert answer.text == f"You said: {answer.heard}."
        assert sounds_like(answer, answer.text)
        assert answer.timeline is not None
        assert answer.timeline["outcome"] == "answered"
    await nobody_is_left(demo_rooms)


async def test_typed_messages_are_answered_in_voice_and_text(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller:
        for text in ("one apple", "two pears", "three plums"):
            answer = await type_to(caller, text)
            assert answer.text == f"You said: {text}."
            assert sounds_like(answer, answer.text)


async def test_a_caller_who_comes_back_gets_the_agent_again(demo_rooms: System) -> None:
    room = a_room()
    async with in_room(demo_rooms, room, instructions="Be brief.") as caller:
        await type_to(caller, "first")
        first = caller.call_id
    await asyncio.sleep(2)
    async with in_room(demo_rooms, room) as caller:
        assert (await type_to(caller, "second")).text == "You said: second."
        assert caller.call_id != first


async def test_a_ticket_of_the_token_endpoint_leads_to_the_agent(demo_rooms: System) -> None:
    room = a_room()
    async with livekit(demo_rooms) as service:
        await service.room.create_room(api.CreateRoomRequest(name=room))
    async with with_ticket(await ticket_of(demo_rooms, room=room)) as caller:
        assert (await type_to(caller, "hello")).text == "You said: hello."
        second = await ticket_of(demo_rooms, room=room)
        async with with_ticket(second, bystander=True) as other:  # no second agent
            assert other.call_id == caller.call_id
        assert len(await agents_in(demo_rooms, room)) == 1


async def test_stop_by_rpc_cuts_the_answer_and_the_history(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller:
        await caller.type("count to 200")
        await caller.first_sound(PATIENCE_S)
        some_words = caller.listener.loud_until + 2 * RATE_HZ
        await asyncio.wait_for(caller.until(lambda: caller.listener.loud_until > some_words), PATIENCE_S)
        await caller.stop()
        answer = await caller.answer(PATIENCE_S)
        assert answer.status == "cancelled"
        assert 0 < len(answer.text) < 200
        follow = await type_to(caller, "what did you say")
        assert follow.status == "completed"


async def test_stop_over_http_and_an_unknown_call(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller, httpx.AsyncClient(trust_env=False) as client:
        await caller.type("count to 200")
        await caller.first_sound(PATIENCE_S)
        caller.exchange.stopped = True
        stopped = await client.post(f"{demo_rooms.url}/api/calls/{caller.call_id}/stop")
        assert (stopped.status_code, stopped.json()) == (200, {"call_id": caller.call_id})
        assert (await caller.answer(PATIENCE_S)).status == "cancelled"
        unknown = await client.post(f"{demo_rooms.url}/api/calls/call_nobody/stop")
        assert unknown.status_code == 404
        assert unknown.json()["error"]["code"] == "no_such_call"


async def test_pause_and_resume_leave_the_answer_whole(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller:
        await caller.type("one two three four five six seven eight nine ten")
        await caller.first_sound(PATIENCE_S)
        await caller.pause()
        assert caller.exchange.state == "speaking"
        paused_at = caller.listener.ends_at
        await caller.until(lambda: caller.listener.ends_at > paused_at + 24_000)
        assert caller.listener.loud_until < paused_at + 12_000  # what was on its way has come: nothing since
        await caller.resume()
        answer = await caller.answer(PATIENCE_S)
        assert answer.status == "completed"
        assert answer.text == "You said: one two three four five six seven eight nine ten."
        assert sounds_like(answer, answer.text)


async def test_a_caller_who_mutes_in_mid_turn_is_answered(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller:
        await caller.say(said("over and out"))
        publication = next(iter(caller.line.room.local_participant.track_publications.values()))
        assert isinstance(publication.track, rtc.LocalAudioTrack)
        publication.track.mute()
        assert alike((await caller.answer(PATIENCE_S)).text, "You said: over and out.")
        publication.track.unmute()
        assert alike((await ask(caller, "here again")).text, "You said: here again.")


async def test_attributes_change_the_call_and_wrong_ones_are_refused(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller:
        local = caller.line.room.local_participant
        await local.set_attributes({"antiphon.voice": "nobody"})
        await caller.until(lambda: bool(caller.exchange.problems))
        assert "antiphon.voice" in caller.exchange.problems[-1]
        await local.set_attributes({"antiphon.voice": "", "antiphon.instructions": "Answer in one word."})
        assert (await type_to(caller, "still here")).text == "You said: still here."


@pytest.mark.parametrize(
    ("metadata", "field"),
    [
        ("no json", "metadata"),
        ("[1]", "metadata"),
        ('{"voice": "nobody"}', "metadata.voice"),
        ('{"volume": 3}', "metadata.volume"),
        ('{"loopback": true}', "metadata.loopback"),
    ],
)
async def test_wrong_metadata_is_refused_with_a_reason(demo_rooms: System, metadata: str, field: str) -> None:
    room, own = a_room(), keys(demo_rooms)
    async with livekit(demo_rooms) as service:
        await service.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name="antiphon", room=room, metadata=metadata)
        )
    with pytest.raises(Refused) as refused:
        async with with_ticket(own.ticket(room)) as caller:
            await caller.answer(PATIENCE_S)
    assert refused.value.field == field
    await nobody_is_left(demo_rooms)


async def test_forged_and_expired_tokens_open_no_room(demo_rooms: System) -> None:
    own = keys(demo_rooms)
    forged = Keys(own.url, own.api_key, "f" * 43).ticket(a_room())
    with pytest.raises(CallFailed):
        async with with_ticket(forged):
            pass
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{demo_rooms.url}/api/livekit/token", json={"participant_identity": "antiphon-x"})
        assert answer.status_code == 400
        assert answer.json()["error"]["field"] == "participant_identity"
        answer = await client.post(f"{demo_rooms.url}/api/livekit/token", content=b"{")
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


async def test_a_job_for_a_room_that_is_gone_leaves_nothing(demo_rooms: System) -> None:
    rooms = [a_room() for _ in range(3)]
    async with livekit(demo_rooms) as service:
        for room in rooms:
            await service.agent_dispatch.create_dispatch(
                api.CreateAgentDispatchRequest(agent_name="antiphon", room=room)
            )
            await service.room.delete_room(api.DeleteRoomRequest(room=room))
    await nobody_is_left(demo_rooms)
    async with in_room(demo_rooms) as caller:
        assert (await type_to(caller, "hello")).text == "You said: hello."


@pytest.mark.parametrize("what", ["room", "dispatch"])
async def test_a_room_that_closes_or_a_dispatch_that_is_taken_back_ends_the_call(demo_rooms: System, what: str) -> None:
    room = a_room()
    async with livekit(demo_rooms) as service, in_room(demo_rooms, room) as caller:
        await caller.type("count to 200")
        await caller.first_sound(PATIENCE_S)
        if what == "room":
            await service.room.delete_room(api.DeleteRoomRequest(room=room))
        else:
            [dispatch] = await service.agent_dispatch.list_dispatch(room)
            await service.agent_dispatch.delete_dispatch(dispatch.id, room)
        with pytest.raises(CallFailed):
            await caller.answer(PATIENCE_S)
        await nobody_is_left(demo_rooms)


async def test_a_caller_with_a_camera_only_is_answered_when_they_type(demo_rooms: System) -> None:
    room = rtc.Room()
    done: asyncio.Queue[str] = asyncio.Queue()

    async def read(reader: rtc.TextStreamReader) -> None:
        text = await reader.read_all()
        if (reader.info.attributes or {}).get("lk.transcription_final") == "true":
            done.put_nowait(text)

    readings: list[asyncio.Task[None]] = []
    room.register_text_stream_handler(
        "lk.transcription", lambda reader, _: readings.append(asyncio.create_task(read(reader)))
    )
    name = a_room()
    ticket = keys(demo_rooms).dispatching(name, {})
    try:
        await room.connect(ticket.url, ticket.token)
        source = rtc.VideoSource(64, 64)
        await room.local_participant.publish_track(rtc.LocalVideoTrack.create_video_track("camera", source))
        source.capture_frame(rtc.VideoFrame(64, 64, rtc.VideoBufferType.RGBA, bytes(64 * 64 * 4)))

        async def listens() -> bool:  # before that there may be no way yet for what is typed
            there = room.remote_participants.values()
            return any(person.attributes.get("lk.agent.state") == "listening" for person in there)

        await until(listens, "an agent who listens")
        await room.local_participant.send_text("can you see me", topic="lk.chat")
        assert await asyncio.wait_for(done.get(), PATIENCE_S) == "You said: can you see me."
    finally:
        await asyncio.gather(*readings, return_exceptions=True)
        await room.disconnect()
    await nobody_is_left(demo_rooms)


async def test_of_five_who_talk_at_once_the_first_is_answered(demo_rooms: System) -> None:
    room, own = a_room(), keys(demo_rooms)
    async with in_room(demo_rooms, room) as first:
        others = [RoomCaller(own.ticket(room), agent_timeout_s=PATIENCE_S, bystander=True) for _ in range(4)]
        async with others[0], others[1], others[2], others[3]:
            chatter = [asyncio.create_task(other.say(said("blah blah blah"))) for other in others]
            answer = await ask(first, "only me")
            assert alike(answer.text, "You said: only me.")
            assert sounds_like(answer, answer.text)
            await asyncio.gather(*chatter)
            assert len(await agents_in(demo_rooms, room)) == 1


async def test_a_caller_whose_line_drops_goes_on_in_the_same_call(demo_rooms: System) -> None:
    room, own = a_room(), keys(demo_rooms)
    identity = fresh("caller")
    async with livekit(demo_rooms) as service:
        await service.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(agent_name="antiphon", room=room))
    async with with_ticket(own.ticket(room, identity)) as before:
        await type_to(before, "remember me")
        call = before.call_id
        # The same caller, connected anew: LiveKit drops the first connection.
        async with with_ticket(own.ticket(room, identity)) as after:
            assert after.call_id == call
            assert (await type_to(after, "hello again")).text == "You said: hello again."


async def test_telephone_keys_are_a_message(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller:
        for digit in "12#":
            await caller.line.room.local_participant.publish_dtmf(code=int(digit) if digit != "#" else 11, digit=digit)
        answer = await caller.answer(PATIENCE_S)
        assert "12#" in answer.text


async def test_only_the_caller_may_order(demo_rooms: System) -> None:
    room, own = a_room(), keys(demo_rooms)
    async with in_room(demo_rooms, room), with_ticket(own.ticket(room), bystander=True) as other:
        with pytest.raises(CallFailed, match="only the caller"):
            await other.stop()


async def test_the_agent_says_who_it_is(demo_rooms: System) -> None:
    async with in_room(demo_rooms) as caller:
        agent = caller.line.present_agent()
        assert agent.attributes["antiphon.agent"] == "antiphon"
        assert agent.attributes["lk.agent.state"] == "listening"
        assert agent.attributes["antiphon.call_id"].startswith("call_")
        assert json.loads(await caller.ask_agent("antiphon.stop")) == {"call_id": caller.call_id}
