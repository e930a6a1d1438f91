import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from livekit import api, rtc

from loadtest.room_ticket import Keys, fresh
from serve_app.call_options import CallOptions, SilenceOptions
from serve_app.conversation.items import MessageItem
from serve_app.rooms.agents import Reserved
from serve_app.rooms.roll import Ended
from serve_app.rooms.server import Badge
from serve_app.transports.livekit_colleagues import COLLEAGUE_S
from serve_app.transports.livekit_joining import RoomLost, Ticket
from tests.agents_kit import Replica, agents_of, caller, delete, met, options, replica, sounding, until

pytestmark = pytest.mark.timeout(90)


def reserved(one: Replica, room: str) -> Reserved:
    place = one.agents.reserve(room)
    assert place is not None
    return place


def ticket(one: Replica, place: Reserved) -> Ticket:
    return Ticket(one.server.url, one.server.agent_token(place.stay.room, place.badge))


async def test_one_place_a_room_and_none_over_the_limit(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys), max_calls=2) as one:
        first = reserved(one, "room")
        assert one.agents.reserve("room") is None
        second = reserved(one, "other")
        assert one.agents.reserve("third") is None
        one.agents.cancel(first)
        assert one.taken == 1
        one.agents.cancel(reserved(one, "room"))
        one.agents.cancel(second)


@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05, 0.1])
async def test_who_is_dismissed_on_the_way_is_soon_gone(livekit_keys: Keys, after_s: float) -> None:
    """Joining cannot be cut off: an attempt that is cancelled would stay in the room, and end this process."""
    async with replica(options(livekit_keys)) as one:
        place = reserved(one, fresh("room"))
        joined = one.agents.begin(place, ticket(one, place))
        await asyncio.sleep(after_s)
        one.agents.dismiss(place)
        await asyncio.wait([joined], timeout=5)
        await until(lambda: not one.taken and not one.agents.stays, "a free place", 2)

        async def empty() -> bool:
            return not await one.server.participants(place.stay.room)

        await until(empty, "an empty room", 5)


async def test_a_stay_s_end_is_told_while_its_place_is_still_taken(livekit_keys: Keys) -> None:
    told: list[tuple[Ended, int]] = []
    async with replica(options(livekit_keys)) as one:
        one.agents.on_ended.append(lambda ended: told.append((ended, one.taken)))
        place = reserved(one, fresh("room"))
        async with caller(livekit_keys, place.stay.room) as there:
            await one.agents.begin(place, ticket(one, place))
            await met(there)
        await until(lambda: not one.taken, "the call's end")
    assert [(ended.stay, taken) for ended, taken in told] == [(place.stay, 1)]


async def test_who_comes_while_the_agent_is_getting_ready_is_answered(
    livekit_keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After it has joined, and before its track is published."""
    publish = rtc.LocalParticipant.publish_track
    async with replica(options(livekit_keys)) as one:
        place = reserved(one, fresh("room"))

        def in_room() -> rtc.Room | None:
            room = place.room.line.room if place.room is not None else None
            return room if room is not None and room.isconnected() else None

        async def publish_late(local: rtc.LocalParticipant, *args: Any) -> rtc.LocalTrackPublication:
            if local.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
                await until(lambda: bool((room := in_room()) and room.remote_participants), "a caller")
            return await publish(local, *args)

        monkeypatch.setattr(rtc.LocalParticipant, "publish_track", publish_late)
        joined = one.agents.begin(place, ticket(one, place))
        await until(lambda: in_room() is not None, "an agent that has joined")
        async with caller(livekit_keys, place.stay.room) as there, sounding(there):
            await joined
            await met(there)
            me = there.local_participant.identity
            await until(lambda: one.agents.stays[place.stay.room].caller == me, "a call with them", 5)


async def test_a_room_that_cannot_be_joined_is_lost_with_a_reason(livekit_keys: Keys) -> None:
    async with replica(options(livekit_keys)) as one:
        place = reserved(one, fresh("room"))
        with pytest.raises(RoomLost, match="cannot be joined"):
            await one.agents.begin(place, Ticket(one.server.url, "no token"))
        await until(lambda: not one.taken, "a free place")


@pytest.mark.parametrize(
    ("reason", "again"),
    [
        (rtc.DisconnectReason.PARTICIPANT_REMOVED, False),
        (rtc.DisconnectReason.SIGNAL_CLOSE, True),
        (rtc.DisconnectReason.UNKNOWN_REASON, True),
    ],
)
async def test_whoever_lost_the_agent_gets_another_one_unless_it_was_put_out(
    livekit_keys: Keys, reason: rtc.DisconnectReason.ValueType, again: bool
) -> None:
    told: list[Ended] = []
    async with replica(options(livekit_keys)) as one:
        one.agents.on_ended.append(told.append)
        place = reserved(one, fresh("room"))
        async with caller(livekit_keys, place.stay.room) as there:
            await one.agents.begin(place, ticket(one, place))
            await met(there)
            await until(lambda: bool(place.hosted.call), "a call")
            assert place.room is not None
            place.room.line.room.emit("disconnected", reason)
            await until(lambda: not one.taken, "the call's end")
            assert [ended.answered for ended in told] == [None if again else there.local_participant.sid]


@pytest.mark.parametrize("came_back", [True, False])
async def test_of_two_agents_the_one_stays_that_was_in_the_room_before_its_server_restarted(
    livekit_keys: Keys, came_back: bool
) -> None:
    async with replica(options(livekit_keys)) as one:
        place = reserved(one, fresh("room"))
        room = place.stay.room
        async with caller(livekit_keys, room) as there:
            await one.agents.begin(place, ticket(one, place))
            await met(there)
            assert place.room is not None
            if came_back:
                place.room.line.room.emit("reconnected")
            badge, other = Badge.new(one.options.agent_name, "call"), rtc.Room()
            await other.connect(one.server.url, one.server.agent_token(room, badge))
            try:
                await until(lambda: len(agents_of(there)) == 2, "another agent")
                await asyncio.sleep(2 * COLLEAGUE_S)
                assert (one.taken == 1) is came_back
            finally:
                await other.disconnect()
        await until(lambda: not one.taken, "the call's end")


@asynccontextmanager
async def phone(keys: Keys, room: str, kind: Literal["standard", "sip"]) -> AsyncIterator[rtc.Room]:
    """A caller of this kind."""
    grants = api.VideoGrants(room_join=True, room=room)
    token = api.AccessToken(keys.api_key, keys.api_secret).with_identity("phone").with_kind(kind).with_grants(grants)
    there = rtc.Room()
    await there.connect(keys.url, token.to_jwt(), rtc.RoomOptions(single_peer_connection=False))
    async with sounding(there):
        yield there
    await delete(keys, room)


@pytest.mark.parametrize(
    ("kind", "clean_audio", "cleaned"),
    [
        ("sip", "phones", True),
        ("standard", "phones", False),
        ("sip", "none", False),
        ("standard", "all", True),
    ],
)
async def test_whose_sound_is_cleaned(
    livekit_keys: Keys, kind: Literal["standard", "sip"], clean_audio: str, cleaned: bool
) -> None:
    async with replica(options(livekit_keys, clean_audio=clean_audio)) as one:
        place = reserved(one, fresh("room"))
        await one.agents.begin(place, ticket(one, place))
        async with phone(livekit_keys, place.stay.room, kind) as there:
            await until(lambda: bool(place.hosted.call), "a call")
            assert place.room is not None
            line = place.room.line
            assert line.seat.by_phone is (kind == "sip")
            assert line.microphone is not None
            assert (line.microphone.cleaner is not None) is cleaned
            assert (line.speaker.on_frame is not None) is cleaned
            assert there.isconnected()
        await until(lambda: not one.taken, "the call's end")


async def test_a_room_is_left_once(livekit_keys: Keys, capfd: pytest.CaptureFixture[str]) -> None:
    async with replica(options(livekit_keys)) as one:
        place = reserved(one, fresh("room"))
        await one.agents.begin(place, ticket(one, place))
        async with phone(livekit_keys, place.stay.room, "standard") as there:
            await met(there)
        await until(lambda: not one.taken, "the call's end")
    assert "failed to handle request" not in capfd.readouterr().err  # the native side's word for what is gone


async def test_keys_of_a_telephone_are_what_the_caller_says(livekit_keys: Keys) -> None:
    said: list[str] = []
    async with replica(options(livekit_keys)) as one:
        place = reserved(one, fresh("room"))
        await one.agents.begin(place, ticket(one, place))
        async with phone(livekit_keys, place.stay.room, "sip") as there:
            readings: set[asyncio.Task[None]] = set()

            async def read(reader: rtc.TextStreamReader) -> None:
                text = await reader.read_all()
                if (reader.info.attributes or {})["lk.transcription_final"] == "true":
                    said.append(text)

            there.register_text_stream_handler(
                "lk.transcription", lambda reader, _: readings.add(asyncio.create_task(read(reader)))
            )
            await met(there)
            await until(lambda: bool(place.hosted.call), "a call")
            for code, digit in ((1, "1"), (2, "2"), (11, "#")):
                await there.local_participant.publish_dtmf(code=code, digit=digit)
            await until(lambda: bool(said), "an answer")
            assert said == ["You said: [keys pressed: 12#]."]
            await asyncio.gather(*readings)
        await until(lambda: not one.taken, "the call's end")


@pytest.mark.parametrize("kind", ["sip", "standard"])
async def test_an_agent_greets_and_ends_the_call_and_hangs_a_telephone_up(
    livekit_keys: Keys, kind: Literal["standard", "sip"]
) -> None:
    told: dict[str, list[Any]] = {}
    call = CallOptions(prefill=False, greeting="Hi.", silence=SilenceOptions(still_there_after_s=0.3))
    async with replica(options(livekit_keys), call=call) as one:
        place = reserved(one, fresh("room"))
        await one.agents.begin(place, ticket(one, place))
        async with phone(livekit_keys, place.stay.room, kind) as there:

            def note(packet: rtc.DataPacket) -> None:
                told.setdefault(packet.topic or "", []).append(json.loads(packet.data))

            there.on("data_received", note)
            await until(lambda: place.hosted.call is not None, "a call")
            assert (course := place.hosted.call) is not None
            await until(lambda: not one.taken, "the call's end")
            await until(lambda: bool(told.get("antiphon.ended")), "a reason")
            assert told["antiphon.ended"] == [{"reason": "silence"}]
            assert [item.text for item in course.stage.history.items if isinstance(item, MessageItem)] == [
                "Hi.",
                "Are you still there?",
                "Goodbye.",
            ]
            if kind == "sip":
                await until(lambda: not there.isconnected(), "a free line")
            else:
                assert there.isconnected()
