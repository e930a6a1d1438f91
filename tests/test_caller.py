import asyncio
import base64
import http
import socket

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from loadtest.caller import RealtimeCaller
from loadtest.wire import Busy, CallFailed, NoAnswer, NobodyThere, realtime_url
from tests.scripted_server import SILENCE_S, ScriptedServer, tone

FRAME_BYTES = 960


def test_any_part_of_an_address_will_do() -> None:
    assert realtime_url("localhost:80") == "ws://localhost:80/v1/realtime?model=antiphon"
    assert realtime_url("https://h/v1/realtime?model=m") == "wss://h/v1/realtime?model=m"
    assert realtime_url("http://h:1/", ["timeline.v1"]).endswith("?model=antiphon&antiphon_events=timeline.v1")
    with pytest.raises(NobodyThere, match="no address"):
        realtime_url("file:///etc")


async def test_turns_are_heard_answered_and_timed() -> None:
    async with ScriptedServer().run() as server, RealtimeCaller(server.url, instructions="be brief") as caller:
        for turn in range(2):
            await caller.say(np.concatenate((tone(0.3), np.zeros(4800, np.int16))))
            answer = await caller.answer(10)
            assert (answer.heard, answer.text, answer.status) == ("a tone", f"answer {turn}", "completed")
            assert np.array_equal(answer.audio, tone(0.4))
            assert answer.timeline is not None
            assert answer.timeline["turn"] == turn
            assert answer.voice_to_voice_ms is not None
            assert answer.first_arrival_ms is not None
            assert answer.voice_to_voice_ms >= SILENCE_S * 1000 - 20  # the server waited for silence, to a frame
            assert answer.first_voiced_ms == pytest.approx(answer.first_arrival_ms, abs=20)  # a frame
    update = next(event for event in server.received if event["type"] == "session.update")
    assert update["session"] == {"type": "realtime", "instructions": "be brief"}


async def test_the_microphone_never_stops_and_sends_whole_frames() -> None:
    async with ScriptedServer().run() as server, RealtimeCaller(server.url) as caller:
        await caller.say(tone(0.11))
        await caller.answer(10)
        frames = [base64.b64decode(e["audio"]) for e in server.received if e["type"] == "input_audio_buffer.append"]
    assert {len(frame) for frame in frames} == {FRAME_BYTES}
    sent = np.frombuffer(b"".join(frames), "<i2")
    voiced = np.flatnonzero(sent)
    assert voiced[-1] - voiced[0] == len(np.trim_zeros(tone(0.11))) - 1
    assert len(sent) - voiced[-1] > 2 * FRAME_BYTES  # silence is sent, too
    assert np.array_equal(caller.recording.caller.read(0, len(sent)), sent)


async def test_both_sides_are_recorded_on_one_clock() -> None:
    async with ScriptedServer().run() as server, RealtimeCaller(server.url) as caller:
        await caller.say(tone(0.3))
        answer = await caller.answer(10)
    stereo = caller.recording.stereo()
    left, right = (np.flatnonzero(stereo[:, side]) for side in (0, 1))
    assert answer.voice_to_voice_ms == pytest.approx((right[0] - left[-1]) / 24, abs=1)
    assert right[-1] - right[0] == len(np.trim_zeros(tone(0.4))) - 1


async def test_an_interruption_drops_the_queue_and_reports_what_was_heard() -> None:
    async with ScriptedServer(answer_s=3.0).run() as server, RealtimeCaller(server.url) as caller:
        await caller.say(tone(0.2))
        await caller.first_sound(10)
        await asyncio.sleep(0.3)
        await caller.say(tone(0.2))
        answer = await caller.answer(10)
    cut = next(event for event in server.received if event["type"] == "conversation.item.truncate")
    assert (cut["item_id"], cut["content_index"]) == ("a0", 0)
    assert 300 <= cut["audio_end_ms"] < 3000
    assert answer.text == "answer 1"
    right = np.flatnonzero(caller.recording.agent.read())
    heard = round(cut["audio_end_ms"] * 24)
    assert (np.diff(right) > 2400).sum() == 1  # one answer cut short, silence, one whole one
    assert np.flatnonzero(np.diff(right) > 2400)[0] == pytest.approx(heard, abs=100)


async def test_typed_turns_need_no_voice() -> None:
    async with ScriptedServer().run() as server, RealtimeCaller(server.url) as caller:
        await caller.type("hello")
        answer = await caller.answer(10)
    assert answer.heard == "typed"
    item = next(event for event in server.received if event["type"] == "conversation.item.create")["item"]
    assert item["content"] == [{"type": "input_text", "text": "hello"}]


async def test_a_failed_answer_says_why() -> None:
    async with ScriptedServer(status="failed").run() as server, RealtimeCaller(server.url) as caller:
        await caller.say(tone(0.2))
        answer = await caller.answer(10)
    assert (answer.status, answer.reason) == ("failed", "model_failed")


async def test_no_answer_is_an_error_that_says_what_was_heard() -> None:
    async with ScriptedServer().run() as server, RealtimeCaller(server.url) as caller:
        await caller.say(np.zeros(2400, np.int16))
        with pytest.raises(NoAnswer, match=r"within 0\.3 s; the server heard ''"):
            await caller.answer(0.3)


async def test_a_strict_client_asks_for_no_extension() -> None:
    async with ScriptedServer().run() as server, RealtimeCaller(server.url, extensions=()) as caller:
        assert "antiphon" not in caller.url.partition("?model=antiphon")[2]
        assert await caller.round_trip_ms() > 0


async def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NobodyThere, match=r"nothing answers at ws://.*antiphon up"):
        async with RealtimeCaller(f"ws://127.0.0.1:{port}"):
            pass


@pytest.mark.parametrize("at_the_door", [True, False])
async def test_at_capacity(at_the_door: bool) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.close(1013, "32 calls of 32")

    def door(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "full\n") if at_the_door else None

    async with serve(refuse, "127.0.0.1", 0, process_request=door) as server:
        with pytest.raises(Busy, match="takes no more calls"):
            async with RealtimeCaller(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"):
                pass


async def test_a_lost_call_ends_every_wait() -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.send('{"type": "session.created"}')
        await connection.recv()
        await connection.close(1011, "out of luck")

    async with serve(leave, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with RealtimeCaller(url) as caller:
            with pytest.raises(CallFailed, match="1011: out of luck"):
                await caller.answer(10)
