"""The caller in rooms, and `antiphon call --room`, against a scripted agent on a real LiveKit server."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from loadtest.room_bare import ANSWER_S, SILENCE_S, BareAgent
from loadtest.room_caller import RoomCaller
from loadtest.room_facts import Refused
from loadtest.room_process import caller_process
from loadtest.room_stats import counted
from loadtest.room_ticket import Keys, Ticket, fresh
from loadtest.server import free_port
from loadtest.wav import write_wav
from loadtest.wire import CallFailed, Event, NoAnswer, NobodyThere
from tests.room_kit import TicketDesk
from tests.scripted_server import tone
from tests.test_call_command import antiphon, stereo

LONG_S = 60.0  # generous: nothing is measured by it


@asynccontextmanager
async def call(keys: Keys, agent: BareAgent | None = None) -> AsyncIterator[tuple[RoomCaller, BareAgent, list[Event]]]:
    """A caller and an agent in one room, and the events that the caller sees."""
    room, events = fresh("room"), list[Event]()
    async with (
        (agent or BareAgent()).run(keys.agent_ticket(room)) as there,
        RoomCaller(keys.ticket(room), on_event=events.append, agent_timeout_s=LONG_S) as caller,
    ):
        yield caller, there, events


async def test_turns_are_heard_answered_and_timed(livekit_keys: Keys) -> None:
    async with call(livekit_keys) as (caller, agent, events):
        assert caller.call_id == agent.call_id
        for turn in range(2):
            await caller.say(np.concatenate((tone(0.4), np.zeros(4800, np.int16))))
            answer = await caller.answer(LONG_S)
            assert (answer.heard, answer.text, answer.status) == ("a tone", f"answer {turn}", "completed")
            assert answer.timeline is not None
            assert answer.timeline["turn"] == turn
            assert answer.voice_to_voice_ms is not None
            assert answer.voice_to_voice_ms > SILENCE_S * 1000 - 50  # the agent waited for silence
            assert len(answer.audio) > ANSWER_S * 24_000 * 0.8
        joining = caller.joining
        sound = await counted(caller)
    assert joining.connected_ms is not None
    assert joining.track_subscribed_ms is not None
    assert joining.ready_ms is not None
    assert max(joining.connected_ms, joining.track_subscribed_ms) <= joining.ready_ms
    assert sound.received > 0
    kinds = [event["type"] for event in events]
    assert kinds.count("response.output_audio_transcript.done") == 2
    assert kinds.count("antiphon.timeline.v1") == 2


async def test_both_sides_are_recorded_on_one_clock(livekit_keys: Keys) -> None:
    async with call(livekit_keys) as (caller, _, _):
        await caller.say(tone(0.4))
        answer = await caller.answer(LONG_S)
    both = caller.recording.stereo()
    left, right = (np.flatnonzero(np.abs(both[:, side]) > 500) for side in (0, 1))
    said = caller.recording.caller.read(caller.said_at, caller.said_at + len(tone(0.4)))
    assert np.abs(said.astype(int) - tone(0.4)).max() < 800  # but for the edges, resampled there and back
    assert left[-1] - left[0] == pytest.approx(0.4 * 24_000, abs=240)
    assert answer.voice_to_voice_ms == pytest.approx((right[0] - left[-1]) / 24, abs=100)


async def test_a_typed_answer_is_stopped_in_the_middle(livekit_keys: Keys) -> None:
    async with call(livekit_keys, BareAgent(answer_s=120.0)) as (caller, agent, _):
        await caller.type("tell me everything")
        await caller.first_sound(LONG_S)
        await caller.stop()
        answer = await caller.answer(LONG_S)
        assert json.loads(await caller.ask_agent("antiphon.pause")) == {"call_id": agent.call_id}
        with pytest.raises(CallFailed, match=r"antiphon\.unknown failed"):
            await caller.ask_agent("antiphon.unknown")
    assert (answer.heard, answer.status, answer.reason) == ("tell me everything", "cancelled", "cancelled")
    assert 0 < len(answer.audio) < 110 * 24_000


async def test_no_answer_is_an_error_that_says_what_was_heard(livekit_keys: Keys) -> None:
    async with call(livekit_keys) as (caller, _, _):
        await caller.say(np.zeros(2400, np.int16))
        with pytest.raises(NoAnswer, match=r"within 0\.3 s; the agent is idle and heard ''"):
            await caller.answer(0.3)
        with pytest.raises(NoAnswer, match=r"no sound within 0\.3 s"):
            await caller.first_sound(0.3)


async def test_an_agent_that_leaves_ends_every_wait(livekit_keys: Keys) -> None:
    async with call(livekit_keys) as (caller, agent, _):
        waiting = asyncio.create_task(caller.answer(LONG_S))
        await agent.room.disconnect()
        with pytest.raises(CallFailed, match="the agent left the call"):
            await waiting
        with pytest.raises(CallFailed, match="no agent in the room"):
            await caller.type("hello?")


async def test_a_call_goes_on_with_the_agent_that_replaces_one(livekit_keys: Keys) -> None:
    room = fresh("room")
    async with BareAgent().run(livekit_keys.agent_ticket(room)) as first:
        ticket = livekit_keys.ticket(room)
        async with RoomCaller(ticket, agent_timeout_s=LONG_S, replacement_s=LONG_S) as caller:
            await first.room.disconnect()
            async with BareAgent().run(livekit_keys.agent_ticket(room)) as second, asyncio.timeout(LONG_S):
                await caller.until(lambda: caller.call_id == second.call_id)
                await caller.say(tone(0.4))
                assert (await caller.answer(LONG_S)).status == "completed"


async def test_a_refused_setting_is_an_error_with_the_field(livekit_keys: Keys) -> None:
    room = fresh("room")
    error = json.dumps({"code": "bad_voice", "message": "there is no voice x", "field": "voice"})
    refusing = BareAgent().run(livekit_keys.agent_ticket(room), **{"antiphon.error": error})
    async with refusing:
        with pytest.raises(Refused, match=r"there is no voice x \(voice\)"):
            async with RoomCaller(livekit_keys.ticket(room), agent_timeout_s=LONG_S):
                pass


async def test_nobody_there(livekit_keys: Keys) -> None:
    for ticket, kind, words in (
        (livekit_keys.ticket(fresh("room")), NobodyThere, "no agent came into the room"),
        (Ticket(livekit_keys.url, "garbage"), CallFailed, "does not accept the ticket"),
        (Ticket(f"ws://127.0.0.1:{free_port()}", "garbage"), NobodyThere, "no LiveKit server answers"),
    ):
        with pytest.raises(kind, match=words):
            async with RoomCaller(ticket, agent_timeout_s=0.5):
                pass


async def test_callers_of_another_process_are_counted_or_lost(livekit_keys: Keys, tmp_path: Path) -> None:
    write_wav(tmp_path / "tone.wav", tone(0.4))
    rooms = [fresh("room") for _ in range(2)]
    async with BareAgent().run(livekit_keys.agent_ticket(rooms[0])) as agent:
        gone = asyncio.Event()
        agent.room.on("participant_disconnected", lambda participant: gone.set())
        async with caller_process([livekit_keys.ticket(rooms[0])], [tmp_path / "tone.wav"], 2) as caller:
            assert len((await caller.joined())["joining"]) == 1
            await caller.go()
            report = await caller.finished()
            assert [turn["heard"] for turn in report["turns"][0]] == ["a tone"] * 2
            assert report["sound"][0]["packets"] > 0
            assert not gone.is_set()
        await asyncio.wait_for(gone.wait(), LONG_S)
    async with (
        BareAgent().run(livekit_keys.agent_ticket(rooms[1])),
        caller_process([livekit_keys.ticket(rooms[1])]) as caller,
    ):
        await caller.joined()
        caller.drop()
        with pytest.raises(CallFailed, match="process ended"):
            await caller.finished()


# --- antiphon call --room


async def test_a_call_in_a_room_prints_both_sides_and_saves_them(livekit_keys: Keys, tmp_path: Path) -> None:
    write_wav(tmp_path / "question.wav", tone(0.4))
    saved = tmp_path / "both.wav"
    async with TicketDesk(livekit_keys).run() as desk:
        words = ("call", "--room", str(tmp_path / "question.wav"), "--text", "hello", "--url", desk.url)
        wishes = ("--api-key", "sesame", "--instructions", "be kind", "--voice", "joe", "--save", str(saved))
        code, out, err = await antiphon(*words, *wishes)
    assert (code, err) == (0, "")
    for line in ("joined   room-", "caller   a tone", "caller   hello", "agent    answer 1", "turn 1 answered"):
        assert line in out
    assert "heard    the answer's first sound" in out
    assert desk.keys_shown == ["bearer sesame"]
    attributes = {"antiphon.instructions": "be kind", "antiphon.voice": "joe"}
    assert desk.requests == [{"participant_attributes": attributes}]
    left, right = stereo(saved)
    assert (np.abs(left) > 500).any()
    assert (np.abs(right) > 500).sum() > 2 * 24_000 * ANSWER_S * 0.8


async def test_a_ticket_of_ones_own_needs_no_server(livekit_keys: Keys) -> None:
    room = fresh("room")
    ticket = livekit_keys.ticket(room)
    async with BareAgent().run(livekit_keys.agent_ticket(room)):
        words = ("call", "--text", "hello", "--livekit-url", ticket.url, "--token", ticket.token)
        code, out, err = await antiphon(*words)
    assert (code, err) == (0, "")
    assert f"joined   {room}: connected" in out


async def test_no_ticket_is_exit_code_2_in_one_line(livekit_keys: Keys) -> None:
    async with TicketDesk(livekit_keys).run() as desk:
        desk.refusal = 503, {"error": {"code": "no_livekit", "message": "rooms are not configured", "field": None}}
        code, out, err = await antiphon("call", "--room", "-", "--text", "hello", "--url", desk.url)
    assert (code, out) == (2, "")
    assert "has no rooms: rooms are not configured" in err
    assert err.count("\n") == 1
