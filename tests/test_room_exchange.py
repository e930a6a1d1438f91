"""A turn in a room, from the agent's messages alone; and those messages, from what is on the wire."""

import json
from typing import Any

import httpx
import pytest

from loadtest.exchange import LATE_ANSWER, TIMELINE_WAIT
from loadtest.room_exchange import QUIET, RoomExchange
from loadtest.room_facts import (
    Fact,
    Problem,
    Refused,
    StateChanged,
    TurnTimed,
    Words,
    as_event,
    read_packet,
    read_refusal,
)
from loadtest.room_ticket import Keys, read_ticket
from loadtest.wire import Busy, CallFailed, NobodyThere, http_url


def timed(outcome: str, turn: int = 1) -> TurnTimed:
    return TurnTimed({"turn": turn, "outcome": outcome})


def told(exchange: RoomExchange, *facts: Fact, start: int = 1000, step: int = 100) -> int:
    """The facts, one after the other; when the last one came."""
    now = start
    for fact in facts:
        now += step
        exchange.receive(fact, now)
    return now


ANSWER: tuple[Fact, ...] = (
    StateChanged("hearing"),
    StateChanged("ending"),
    Words(False, "q", "what", False),
    Words(False, "q", "what is it", True),
    StateChanged("speaking"),
    Words(True, "a", "It is", False),
    Words(True, "a", "It is this.", True),
    StateChanged("idle"),
    timed("answered"),
)


def test_an_answered_turn() -> None:
    exchange = RoomExchange()
    exchange.begin(1000)
    now = told(exchange, *ANSWER)
    assert list(exchange.heard.values()) == ["what is it"]
    assert list(exchange.text.values()) == ["It is this."]
    assert (exchange.status, exchange.reason) == ("completed", None)
    assert exchange.answering_from == 1200
    assert not exchange.settled(now, now)
    assert exchange.settled(now + QUIET, now)
    assert not exchange.settled(now + QUIET, now + 1)  # it still sounded


@pytest.mark.parametrize("missing", range(len(ANSWER)))
def test_without_one_of_the_messages_a_turn_is_over_late_or_never(missing: int) -> None:
    exchange = RoomExchange()
    exchange.begin(1000)
    facts: list[Fact] = [fact for n, fact in enumerate(ANSWER) if n != missing]
    now = told(exchange, *facts)
    never = isinstance(ANSWER[missing], TurnTimed) or ANSWER[missing] == StateChanged("idle")
    assert exchange.settled(now + TIMELINE_WAIT, now) is not never


def test_not_while_the_caller_speaks() -> None:
    exchange = RoomExchange()
    exchange.begin(1000)
    exchange.asking = True
    now = told(exchange, *ANSWER)
    assert not exchange.settled(now + LATE_ANSWER, now)


def test_the_answer_before_is_not_this_one() -> None:
    exchange = RoomExchange()
    told(exchange, *ANSWER[:-3])  # it is still speaking
    exchange.begin(2000)
    assert exchange.answering_from is None
    before = (Words(True, "a", "It", True), timed("interrupted", 1))
    now = told(exchange, StateChanged("held"), StateChanged("hearing"), *before, start=2000)
    assert exchange.text == {}
    now = told(exchange, StateChanged("thinking"), StateChanged("speaking"), Words(True, "b", "No.", False), start=now)
    assert not exchange.settled(now + LATE_ANSWER, now)
    now = told(exchange, Words(True, "b", "No.", True), StateChanged("idle"), timed("answered", 2), start=now)
    assert exchange.settled(now + QUIET, now)
    assert (exchange.text, exchange.status) == ({"b": "No."}, "completed")


def test_an_interrupted_answer_counts_only_when_nothing_newer_comes() -> None:
    exchange = RoomExchange()
    exchange.begin(1000)
    now = told(exchange, *ANSWER[:-1], timed("interrupted"))
    assert not exchange.settled(now + LATE_ANSWER - 1, now)
    assert exchange.settled(now + LATE_ANSWER, now)
    assert (exchange.status, exchange.reason) == ("cancelled", "interrupted")


def test_an_answer_that_the_caller_stopped_is_over_at_once() -> None:
    exchange = RoomExchange()
    exchange.begin(1000)
    exchange.stopped = True
    now = told(exchange, *ANSWER[:-1], timed("cancelled"))
    assert exchange.settled(now + QUIET, now)
    assert exchange.status == "cancelled"


def test_a_failed_turn_says_why() -> None:
    exchange = RoomExchange()
    exchange.begin(1000)
    told(exchange, StateChanged("thinking"), Problem("model_failed", "the model failed"), timed("failed"))
    assert (exchange.status, exchange.reason) == ("failed", "the model failed")


# --- on the wire


def test_packets() -> None:
    assert read_packet("antiphon.state", b'{"state": "held"}') == StateChanged("held")
    assert read_packet("antiphon.timeline", b'{"turn": 3}') == TurnTimed({"turn": 3})
    error = b'{"code": "bad_voice", "message": "no such voice", "field": "voice"}'
    assert read_packet("antiphon.error", error) == Problem("bad_voice", "no such voice", "voice")
    assert read_packet("somebody.else", b"\xff") is None
    assert read_packet(None, b"") is None


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1]", b"nonsense"])
def test_garbage_in_a_packet_is_an_error_that_names_the_topic(data: bytes) -> None:
    with pytest.raises(CallFailed, match=r"antiphon\.state"):
        read_packet("antiphon.state", data)


def test_a_refusal_names_the_field() -> None:
    refusal = read_refusal('{"code": "bad_voice", "message": "there is no voice x", "field": "voice"}')
    assert isinstance(refusal, Refused)
    assert str(refusal) == "the agent refuses the call: there is no voice x (voice)"
    assert (refusal.code, refusal.field) == ("bad_voice", "voice")
    assert isinstance(read_refusal('{"code": "at_capacity", "message": "full"}'), Busy)
    assert "oops" in str(read_refusal("oops"))


def test_facts_have_the_names_of_the_realtime_protocol() -> None:
    event = as_event(Words(False, "q", "what", True))
    assert event is not None
    assert (event["type"], event["transcript"]) == ("conversation.item.input_audio_transcription.completed", "what")
    event = as_event(Problem("c", "m", "f"))
    assert event is not None
    assert event["error"]["message"] == "m (f)"
    assert as_event(Words(True, "a", "It", False)) is None


# --- tickets


def answer(status: int, body: Any, **headers: str) -> httpx.Response:
    return httpx.Response(status, text=body if isinstance(body, str) else json.dumps(body), headers=headers)


def error(code: str, field: str | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": f"because of {code}", "field": field}}


def test_a_ticket_is_read_and_does_not_show_its_token() -> None:
    ticket = read_ticket("http://h", answer(201, {"server_url": "ws://lk", "participant_token": "secret"}))
    assert (ticket.url, ticket.token) == ("ws://lk", "secret")
    assert "secret" not in repr(ticket)
    assert "secret" not in repr(Keys("ws://lk", "key", "secret"))


@pytest.mark.parametrize(
    ("response", "kind", "words"),
    [
        (answer(503, error("at_capacity"), **{"Retry-After": "2"}), Busy, "takes no more calls now.*try again in 2 s"),
        (answer(503, error("no_livekit")), NobodyThere, "has no rooms: because of no_livekit"),
        (answer(401, error("unauthorized")), NobodyThere, "wants its API key"),
        (answer(404, "nothing"), NobodyThere, "is it an Antiphon server"),
        (answer(400, error("bad_value", "room_name")), CallFailed, r"because of bad_value \(room_name\)"),
        (answer(201, {"server_url": "ws://lk"}), CallFailed, "HTTP 201"),
        (answer(500, "[]"), CallFailed, "HTTP 500"),
    ],
)
def test_no_ticket_is_an_error_that_says_why(response: httpx.Response, kind: type[CallFailed], words: str) -> None:
    with pytest.raises(kind, match=words):
        read_ticket("http://h", response)


def test_the_same_server_over_http() -> None:
    assert http_url("ws://h:1/v1/realtime?model=m") == "http://h:1"
    assert http_url("wss://h") == "https://h"
    assert http_url("127.0.0.1:8000") == "http://127.0.0.1:8000"
