"""The socket as a client sees it, behind a real web server, and as the call sees it."""

import asyncio
import base64
import time
from typing import Any

import numpy as np
import pytest
from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments.contracts import Pcm
from deployments.errors import BadRequest, CallerGone
from serve_app.conversation import messages as m
from serve_app.conversation.items import CallSettings, MessageItem
from serve_app.transports import g711
from serve_app.transports.realtime_audio import MAX_ITEM_S, Format, Player, check_duration, rate_hz
from serve_app.transports.realtime_socket import RealtimeLimits, RealtimeSocket
from tests.realtime_kit import ANSWER_PCM, WORDS, Client, connected, kinds, update


def append(client: Client, data: bytes) -> None:
    client.send({"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()})


def spoken(events: list[dict[str, Any]]) -> bytes:
    return b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")


def pitch_hz(pcm: Pcm, rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(spectrum.argmax() * rate_hz / len(pcm))


# --- answers


def test_a_spoken_answer_is_told_in_openais_order() -> None:
    with connected() as (client, _):
        client.send({"type": "response.create"})
        events = client.until("response.done")
        assert kinds(events) == [
            "response.created",
            "rate_limits.updated",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio_transcript.delta",
            "response.output_audio_transcript.delta",
            "response.output_audio.delta",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        assert events[1]["rate_limits"] == []
        response = events[-1]["response"]
        text = "".join(WORDS)
        assert response["output"][0]["content"] == [{"type": "output_audio", "transcript": text}]
        assert events[9]["transcript"] == events[10]["part"]["transcript"] == text
        assert response["usage"]["total_tokens"] == 15
        assert response["usage"]["input_token_details"]["cached_tokens"] == 4
        assert np.frombuffer(spoken(events), "<i2").tolist() == ANSWER_PCM.tolist()
        assert len({event["event_id"] for event in events}) == len(events)


def test_a_written_answer_has_text_and_no_audio() -> None:
    with connected() as (client, _):
        client.send({"type": "response.create", "response": {"output_modalities": ["text"], "metadata": {"a": "b"}}})
        events = client.until("response.done")
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        done = next(event for event in events if event["type"] == "response.output_text.done")
        assert "".join(deltas) == done["text"] == "".join(WORDS)
        assert not [kind for kind in kinds(events) if "audio" in kind]
        assert events[-1]["response"]["metadata"] == {"a": "b"}


def test_a_function_call_is_the_second_item() -> None:
    with connected() as (client, _):
        tool = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
        client.send({"type": "response.create", "response": {"tools": [tool]}})
        events = client.until("response.done")
        done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
        assert (done["output_index"], done["name"], done["arguments"]) == (1, "get_weather", '{"city":"Bern"}')
        call = events[-1]["response"]["output"][1]
        assert (call["type"], call["call_id"]) == ("function_call", done["call_id"])
        output = {"type": "function_call_output", "call_id": done["call_id"], "output": "rain"}
        client.send({"type": "conversation.item.create", "item": output})
        assert client.until("conversation.item.done")[-1]["item"]["output"] == "rain"


def test_an_answer_outside_the_conversation_adds_no_items_to_it() -> None:
    with connected() as (client, call):
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "alone"}]}
        client.send({"type": "response.create", "response": {"conversation": "none", "input": [item]}})
        events = client.until("response.done")
        assert not [kind for kind in kinds(events) if kind.startswith("conversation")]
        assert events[-1]["response"]["conversation_id"] is None
        order = call.orders[-1]
        assert isinstance(order, m.CreateAnswer)
        assert order.options.input is not None
        assert [i.text for i in order.options.input if isinstance(i, MessageItem)] == ["alone"]


@pytest.mark.parametrize("law", ["mu", "a"])
def test_telephone_audio_both_ways(law: g711.Law) -> None:
    wire_format = {"type": f"audio/pcm{'u' if law == 'mu' else 'a'}"}
    with connected() as (client, call):
        update(client, audio={"input": {"format": wire_format}, "output": {"format": wire_format}})
        tone = (8000 * np.sin(np.arange(8000) * 2 * np.pi * 700 / 8000)).astype(np.int16)
        for first in range(0, 8000, 160):
            append(client, g711.encode(tone[first : first + 160], law))
        client.send({"type": "response.create"})
        events = client.until("response.done")
        heard = np.concatenate(call.pending)
        assert abs(pitch_hz(heard, 16_000) - 700) < 5
        answer = g711.decode(spoken(events), law)
        assert abs(len(answer) - 8000) <= 2  # the resampler's tail was flushed
        assert abs(pitch_hz(answer, 8000) - 440) < 5


# --- what the caller says


def test_appended_audio_reaches_the_call_at_16_khz_in_order() -> None:
    with connected() as (client, call):
        append(client, ANSWER_PCM.tobytes() * 3)
        client.send({"type": "input_audio_buffer.commit"})
        events = client.until("conversation.item.input_audio_transcription.completed")
        assert kinds(events) == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "conversation.item.input_audio_transcription.completed",
        ]
        assert "audio" not in events[1]["item"]["content"][0]
        (item,) = call.history.items
        assert isinstance(item, MessageItem)
        assert item.audio is not None
        assert abs(len(item.audio) - 48_000) < 1600
        assert abs(pitch_hz(item.audio, 16_000) - 440) < 2
        client.send({"type": "conversation.item.retrieve", "item_id": item.id})
        part = client.until("conversation.item.retrieved")[-1]["item"]["content"][0]
        assert abs(pitch_hz(np.frombuffer(base64.b64decode(part["audio"]), "<i2"), 24_000) - 440) < 2


def test_an_item_with_audio() -> None:
    with connected() as (client, call):
        part = {"type": "input_audio", "audio": base64.b64encode(ANSWER_PCM.tobytes()).decode(), "transcript": "la"}
        item = {"type": "message", "role": "user", "id": "item_la", "content": [part]}
        client.send({"type": "conversation.item.create", "item": item, "previous_item_id": "root"})
        client.until("conversation.item.done")
        made = call.history.get("item_la")
        assert isinstance(made, MessageItem)
        assert made.audio is not None
        assert (made.text, made.modality, len(made.audio)) == ("la", "audio", 16_000)


@pytest.mark.parametrize("kind", ["audio/pcm", "audio/pcmu"])
def test_the_longest_audio_of_an_item(kind: Format) -> None:
    longest = MAX_ITEM_S * rate_hz(kind) * (2 if kind == "audio/pcm" else 1)
    check_duration(base64.b64encode(bytes(longest)).decode(), kind, "audio")
    with pytest.raises(BadRequest, match=f"{MAX_ITEM_S} s"):
        check_duration(base64.b64encode(bytes(longest + 6)).decode(), kind, "audio")


def test_items_are_deleted_and_truncated() -> None:
    with connected() as (client, _):
        client.send({"type": "response.create"})
        item_id = client.until("response.done")[-1]["response"]["output"][0]["id"]
        cut = {"item_id": item_id, "content_index": 0, "audio_end_ms": 400}
        client.send({"type": "conversation.item.truncate", **cut})
        assert client.event().items() >= cut.items()
        client.send({"type": "conversation.item.delete", "item_id": item_id})
        assert client.until("conversation.item.deleted")[-1]["item_id"] == item_id


# --- the end, and the client's clock


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("goodbye", 1000),
        ("silence", 1000),
        ("the caller left", 1000),
        ("going away", 1001),
        ("shutting down", 1001),
        ("failed", 1011),
        ("at capacity", 1013),
    ],
)
def test_closing_says_why_and_ends_the_inputs(reason: str, code: int) -> None:
    with connected() as (client, call):
        assert client.websocket.portal is not None
        client.websocket.portal.call(call.socket.close, reason)
        client.websocket.portal.call(call.socket.close, reason)
        with pytest.raises(WebSocketDisconnect) as caught:
            client.event()
        assert (caught.value.code, caught.value.reason) == (code, reason)


def test_the_client_plays_by_the_clock() -> None:
    player = Player()
    assert player.unplayed() == 0
    player.push(24_000)
    player.push(24_000)
    before = player.unplayed()
    assert 24_000 < before <= 48_000
    time.sleep(0.05)
    after = player.unplayed()
    assert after <= before - 1000
    assert 0 < player.stop() <= after
    assert player.unplayed() == 0


async def test_a_client_that_takes_nothing_is_gone_and_the_inputs_end() -> None:
    sent: list[str] = []
    greeted = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append("connect")
            return {"type": "websocket.connect"}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message["type"])
        if len(sent) == 4:
            greeted.set()
        if len(sent) > 4:  # connect, accept, and the two greetings; then the line is stuck
            await asyncio.Event().wait()

    websocket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    await websocket.accept()
    limits = RealtimeLimits(send_timeout_s=0.05)
    socket = RealtimeSocket(
        websocket, CallSettings("x"), session_id="s", model="m", voices=(), limits=limits, extensions=frozenset()
    )
    listening = asyncio.create_task(anext(socket.inputs(), None))
    await greeted.wait()
    with pytest.raises(CallerGone):
        await socket.send_event(m.AudioCleared())
    assert await listening is None
    with pytest.raises(CallerGone):
        await socket.send_event(m.AudioCleared())


@pytest.mark.parametrize(
    ("told", "code", "hung_up"),
    [
        *(("by reading", *case) for case in ((1000, True), (1005, True), (1006, False), (1011, False))),
        *((told, *case) for told in ("by writing", "not") for case in ((1000, True), (1006, False), (None, False))),
    ],
)
async def test_a_client_that_closes_has_hung_up_and_one_whose_connection_breaks_has_not(
    told: str, code: int | None, hung_up: bool
) -> None:
    """Also where the server finds out by writing, or is ended before it finds out, and has not read the code yet. None:
    it never comes."""
    closed = asyncio.Event()
    first = True

    async def receive() -> dict[str, Any]:
        nonlocal first
        if first:
            first = False
            return {"type": "websocket.connect"}
        await closed.wait()
        if code is None:
            await asyncio.Event().wait()
        return {"type": "websocket.disconnect", "code": code}

    async def send(message: Any) -> None:
        if told == "by writing" and message["type"] == "websocket.send":
            closed.set()
            raise OSError("nobody is there")

    websocket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    await websocket.accept()
    socket = RealtimeSocket(
        websocket,
        CallSettings("x"),
        session_id="s",
        model="m",
        voices=(),
        limits=RealtimeLimits(),
        extensions=frozenset(),
    )
    if told == "by writing":
        with pytest.raises(CallerGone):
            await socket.send_event(m.AudioCleared())
    else:
        closed.set()
    if told == "by reading":
        assert await anext(socket.inputs(), None) is None
    assert await socket.hung_up(unread=told == "not") is hung_up
