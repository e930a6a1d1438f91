"""serve_app/wire.yaml says what the code does: every name in it is in the code, every name of ours in the code is in
it, and what the code sends is what it describes."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from fastapi import Response
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from livekit import rtc

from deployments.errors import BadRequest
from serve_app.call_options import CallOptions
from serve_app.conversation import messages as m
from serve_app.conversation.items import CallSettings, Ending
from serve_app.conversation.timeline import CHAIN, ORIGINS, Moment, Timeline
from serve_app.conversation.turns import State
from serve_app.ingress import Ingress
from serve_app.readiness import Readiness
from serve_app.rooms import request as request_module
from serve_app.rooms.choices import LOOPBACK, MAX_METADATA_BYTES, PREFIX, TEXTS, read_metadata
from serve_app.rooms.request import AGENT_PREFIX, CHOSEN_BY_CLIENTS, MAX_NAME_CHARS, OURS, TokenRequest, read_request
from serve_app.rooms.server import Badge
from serve_app.sessions import SOCKET_ID, Sessions
from serve_app.transports import livekit_line, livekit_words
from serve_app.transports.livekit_audio import Metronome
from serve_app.transports.livekit_joining import Ticket
from serve_app.transports.livekit_line import RoomLine
from serve_app.transports.livekit_orders import NOT_THE_CALLER, PAUSE, RESUME, STOP
from serve_app.transports.livekit_room import KEYS_PAUSE_S, LiveKitRoom
from serve_app.transports.livekit_words import SHOWN_STATES, Teller, error_body
from serve_app.transports.realtime_render import EXTENSIONS, Renderer
from serve_app.transports.realtime_session import Session
from serve_app.transports.realtime_socket import CLOSE_CODES, HANGING_UP
from tests.agents_kit import new_host

ROOT = Path(__file__).parent.parent / "serve_app"
PAGE: dict[str, Any] = yaml.safe_load((ROOT / "wire.yaml").read_text())
WHOLE = Draft202012Validator(PAGE)
STATES = [state.name.lower() for state in State]


def part(*path: Any) -> Any:
    """Of the page."""
    found = PAGE
    for step in path:
        found = found[step]
    return found


def check(found: Any, *path: Any) -> None:
    """This is what the page describes there."""
    WHOLE.evolve(schema=part(*path)).validate(json.loads(json.dumps(found)))


def fits(found: Any, *path: Any) -> bool:
    return bool(WHOLE.evolve(schema=part(*path)).is_valid(found))


def schemas(node: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """Every part of the page that is a schema by itself."""
    if isinstance(node, dict):
        if {"type", "enum", "const", "$ref"} & node.keys() and not isinstance(node.get("type"), dict):
            yield within, node
        else:
            for name, inner in node.items():
                yield from schemas(inner, f"{within}/{name}")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def strings(tree: ast.Module) -> Iterator[str]:
    """In the code, without docstrings and the names of loggers."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) or (isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger")
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant) and (isinstance(node, ast.Call) or inner is getattr(node, "value", None))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


NAME = re.compile(r"(?:antiphon|lk)\.[a-z][a-z_.0-9]*[a-z0-9]")


def names_on_page(node: Any = PAGE) -> Iterator[str]:
    if isinstance(node, dict):
        for name, inner in node.items():
            if NAME.fullmatch(str(name)):
                yield str(name)
            yield from names_on_page(inner)


def names_in_code() -> set[str]:
    found = {text for _, tree in trees() for text in strings(tree) if NAME.fullmatch(text)}
    return found | {PREFIX + name for name in TEXTS} | {PREFIX + name for name in EXTENSIONS}


# --- the page


def test_the_page_is_made_of_schemas() -> None:
    found = dict(schemas(PAGE))
    assert len(found) >= 40
    for schema in found.values():
        Draft202012Validator.check_schema(schema)
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(PAGE)))
    assert {"#/$defs/timeline", "#/$defs/problem"} <= references
    for reference in references:
        part(*reference.removeprefix("#/").split("/"))  # raises where there is no such thing


def test_every_name_is_in_the_code_and_every_name_of_ours_on_the_page() -> None:
    assert set(names_on_page()) == names_in_code()


def test_the_paths_are_the_ingress_s() -> None:
    """Those on the page are there. (Others are OpenAI's, or lead to files.)"""
    routes = {
        text for path, tree in trees() if path.name == "ingress.py" for text in strings(tree) if text.startswith("/")
    }
    ours = {entry.split(" ")[1] for entry in part("http")} | {part("realtime", "path")}
    assert ours <= routes


def codes(path: Path, tree: ast.Module) -> Iterator[str]:
    """Of errors: `code=…`, the second argument of `error_answer`, and `"code": …` in a literal."""
    for node in ast.walk(tree):
        values: list[ast.expr | None] = []
        if isinstance(node, ast.Call):
            values += [given.value for given in node.keywords if given.arg == "code"]
            if ast.unparse(node.func) == "error_answer":
                values.append(node.args[1])
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            values += [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "code"]
        yield from (value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))


def test_the_error_codes_are_those_of_the_code() -> None:
    wanted = {
        code
        for path, tree in trees()
        if path.parent.name in ("rooms", "admin") or path.name == "ingress.py"
        for code in codes(path, tree)
    } | {BadRequest("any").code}
    listed = {code for entry in part("http").values() for code in entry.get("error_codes", ())}
    assert listed == wanted


# --- the Realtime socket


def timelines() -> Iterator[Timeline]:
    yield Timeline(0)
    whole = Timeline(1, "answered")
    for number, moment in enumerate(get_args(Moment)):
        whole.stamp(moment, at_s=100 + number / 7, speculative=number % 2 == 0)
    yield whole
    for origin in ORIGINS:
        yield Timeline(
            2, "failed", {origin: whole.stamps[origin], "first_frame_sent": whole.stamps["first_frame_sent"]}
        )


def test_the_realtime_extensions() -> None:
    assert set(part("realtime", "names")) == EXTENSIONS
    assert set(part("realtime", "events")) == {f"antiphon.{name}" for name in EXTENSIONS}
    defaults = CallSettings("Be brief.")
    renderer = Renderer(Session.begin(defaults, session_id="s", model="m", voices=("v",)), EXTENSIONS)
    events: list[m.Event] = [m.TurnTimed(timeline.as_message()) for timeline in timelines()]
    events += [m.StateChanged(state) for state in STATES]
    events += [m.TranscribedSoFar("item_1", "what is the", 7), m.GoingAway(595.0)]
    told = set()
    for event in events:
        (wire,) = renderer.render(event)
        check(wire, "realtime", "events", wire["type"])
        told.add(wire["type"])
    assert told == set(part("realtime", "events"))
    silent = Renderer(Session.begin(defaults, session_id="s", model="m", voices=("v",)), ())
    assert not [wire for event in events for wire in silent.render(event)]


async def test_a_socket_s_session() -> None:
    assert part("realtime", "query", "session", "pattern") == f"^{SOCKET_ID.pattern}$"
    sessions = Sessions()
    (one, _), (other, _) = await sessions.of_socket(None), await sessions.of_socket(None)
    check(one, "realtime", "query", "session")
    assert one != other
    described = part("realtime", "query", "session", "description")
    codes = [*HANGING_UP[:2], CLOSE_CODES["going away"], CLOSE_CODES["failed"]]
    assert all(str(code) in described for code in codes)


def test_the_codes_of_a_socket_s_errors_that_openai_has_not() -> None:
    socket = dict(trees())[ROOT / "transports" / "realtime_socket.py"]
    assert set(part("realtime", "error_codes")) == {text for text in strings(socket) if text.startswith("unknown_")}


def test_the_words_of_timelines_and_states() -> None:
    assert part("$defs", "state", "enum") == STATES
    assert part("$defs", "moment", "enum") == list(get_args(Moment))
    assert part("$defs", "ending", "enum") == list(get_args(Ending))
    timeline = part("$defs", "timeline", "properties")
    assert timeline["origin"]["enum"] == [*ORIGINS, None]
    assert timeline["segments"]["items"]["properties"]["name"]["enum"] == [name for _, name in CHAIN]
    told = {
        text
        for path, tree in trees()
        if path.name in ("reply.py", "timeline.py")
        for text in strings(tree)
        if text in timeline["outcome"]["enum"]
    }
    assert told == set(timeline["outcome"]["enum"])


# --- rooms


class Paper:
    """LiveKit's local participant, as far as data goes: it notes what is published."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, Any]] = []

    async def publish_data(self, payload: str, *, reliable: bool, topic: str) -> None:
        assert reliable
        self.notes.append((topic, json.loads(payload)))


async def test_the_data_topics() -> None:
    paper = Paper()
    teller = Teller(paper, "TR")  # type: ignore[arg-type]
    events: list[m.Event] = [m.TurnTimed(timeline.as_message()) for timeline in timelines()]
    events += [m.StateChanged(state) for state in STATES]
    events += [m.CallEnded(reason) for reason in get_args(Ending)]
    events += [m.Problem("wrong", "invalid_value", "antiphon.voice"), m.Problem("broken", "model_failed", ours=True)]
    for event in events:
        await teller.tell(event)
    assert len(paper.notes) == len(events)
    for topic, body in paper.notes:
        check(body, "rooms", "data", topic)
    assert {topic for topic, _ in paper.notes} == set(part("rooms", "data"))


def test_the_agent_s_attributes() -> None:
    badge = Badge.new("antiphon", new_host().admit().name)  # type: ignore[union-attr]
    attributes = {**badge.attributes, livekit_words.ERROR: error_body("invalid_value", "wrong", "metadata.voice")}
    assert set(attributes) == set(part("rooms", "agent_attributes"))
    for name, value in attributes.items():
        check(value, "rooms", "agent_attributes", name)
    check(
        json.loads(attributes[livekit_words.ERROR]), "rooms", "agent_attributes", livekit_words.ERROR, "contentSchema"
    )
    shown = {badge.attributes[livekit_words.STATE], *SHOWN_STATES.values()}
    assert shown == set(part("rooms", "agent_attributes", livekit_words.STATE, "enum"))


def test_what_a_caller_may_choose() -> None:
    assert set(part("rooms", "caller_attributes")) == {PREFIX + name for name in TEXTS}
    assert set(part("rooms", "dispatch_metadata", "properties")) == {*TEXTS, LOOPBACK}


VALUES = st.none() | st.booleans() | st.integers() | st.text("ab", max_size=3) | st.lists(st.booleans(), max_size=1)
METADATA = st.dictionaries(st.sampled_from((*TEXTS, LOOPBACK, "volume")), VALUES, max_size=3) | VALUES


@given(METADATA)
def test_metadata_is_taken_if_the_page_says_so(found: Any) -> None:
    try:
        read_metadata(json.dumps(found))
        taken = True
    except BadRequest:
        taken = False
    assert taken == fits(found, "rooms", "dispatch_metadata")


async def test_the_rpc_methods() -> None:
    assert set(part("rooms", "rpc")) == {STOP, PAUSE, RESUME}
    line = RoomLine(Ticket("ws://127.0.0.1:9", "none"), "call_0123456789ab", "antiphon", Metronome(), "none")
    room = LiveKitRoom(line, return_s=0)
    line._hears, line.seat.identity = room, "me"
    for method in (STOP, PAUSE, RESUME):
        asked = rtc.RpcInvocationData("1", "me", "", 1.0)
        check(json.loads(line._orders.answer(method, asked)), "rooms", "rpc", method, "answer")
        with pytest.raises(rtc.RpcError) as refused:
            line._orders.answer(method, rtc.RpcInvocationData("1", "you", "", 1.0))
        assert {refused.value.code: refused.value.message} == part("rooms", "rpc_errors")
        assert refused.value.code == NOT_THE_CALLER
    assert [type(order) for order in room._orders] == [m.StopSpeaking, m.PauseSpeaking, m.ResumeSpeaking]
    await room.close("goodbye")


def test_the_text_streams() -> None:
    streams = part("rooms", "text_streams")
    assert set(streams) == {livekit_words.TRANSCRIPTION, livekit_line.CHAT}
    for final in (True, False):
        attributes = Teller._attributes("item_1", "", final=final) | {livekit_words.STABLE: "7"}
        assert set(attributes) == set(streams[livekit_words.TRANSCRIPTION]["attributes"])
        for name, value in attributes.items():
            check(value, "rooms", "text_streams", livekit_words.TRANSCRIPTION, "attributes", name)


async def test_telephone_keys() -> None:
    keys = part("rooms", "telephone_keys")
    assert keys["pause_s"] == KEYS_PAUSE_S
    line = RoomLine(Ticket("ws://127.0.0.1:9", "none"), "call", "antiphon", Metronome(), "none")
    room = LiveKitRoom(line, return_s=0)
    for key in [*(key for key in keys["key"]["enum"] if key != keys["last_key"]), keys["last_key"]]:
        assert not room._orders
        room.keyed(key)
    (typed,) = room._orders
    assert isinstance(typed, m.TypeText)
    check(typed.text, "rooms", "telephone_keys", "typed")
    assert all(re.search(keys["typed"]["pattern"], example) for example in keys["typed"]["examples"])
    await room.close("goodbye")


# --- HTTP


def test_what_may_be_asked_of_the_token_endpoint() -> None:
    asked = part("http", "POST /api/livekit/token", "request")
    assert set(asked["properties"]) == set(TokenRequest.__dataclass_fields__) - {"agent_metadata"}
    assert set(asked["properties"]["room_config"]["properties"]) == set(CHOSEN_BY_CLIENTS)
    limits = dict(re.findall(r'"(\w+)": \{[^{}]*"maxLength": (\d+)', json.dumps(asked)))
    names = ("room_name", "participant_name", "participant_identity", "name")
    assert {name: int(limit) for name, limit in limits.items()} == {
        **dict.fromkeys(names, MAX_NAME_CHARS),
        **dict.fromkeys(("participant_metadata", "metadata"), MAX_METADATA_BYTES),
    }
    forbidden = asked["properties"]["participant_attributes"]["propertyNames"]["not"]["pattern"]
    assert forbidden == f"^({'|'.join(map(re.escape, OURS))})"
    assert asked["properties"]["participant_identity"]["not"]["pattern"] == f"^{AGENT_PREFIX}"


SHORT = st.none() | st.text("ab", max_size=2) | st.integers(-1, 3) | st.booleans()
WISHES = st.fixed_dictionaries(
    {},
    optional={
        "room_name": SHORT,
        "participant_identity": SHORT | st.sampled_from(["antiphon-1", "antiphon"]),
        "participant_name": SHORT | st.just("x" * (MAX_NAME_CHARS + 1)),
        "participant_metadata": SHORT,
        "participant_attributes": st.none()
        | st.dictionaries(st.sampled_from(["a", "antiphon.voice", "antiphon.agent", "lk.x"]), SHORT, max_size=2),
        "room_config": SHORT
        | st.fixed_dictionaries(
            {},
            optional={
                "name": SHORT,
                "empty_timeout": SHORT | st.just(86_401),
                "max_participants": SHORT,
                "metadata": SHORT,
                "egress": SHORT,
                "agents": SHORT
                | st.lists(
                    st.fixed_dictionaries(
                        {}, optional={"agent_name": st.just("antiphon"), "metadata": st.none(), "job": SHORT}
                    ),
                    max_size=2,
                ),
            },
        ),
        "unknown": SHORT,
    },
)


@given(WISHES)
def test_a_ticket_is_given_if_the_page_says_so(asked: dict[str, Any]) -> None:
    try:
        request_module.read_request(json.dumps(asked).encode(), "antiphon")
        granted = True
    except BadRequest:
        granted = False
    assert granted == fits(asked, "http", "POST /api/livekit/token", "request")


def test_what_the_examples_of_a_request_say() -> None:
    asked = {"room_config": {"agents": [{"agent_name": "antiphon", "metadata": '{"voice": "joe"}'}]}}
    check(asked, "http", "POST /api/livekit/token", "request")
    assert read_request(json.dumps(asked).encode(), "antiphon").agent_metadata == '{"voice": "joe"}'


class Door(Ingress):
    """The ingress without Ray: ended by nobody."""

    def __init__(self, missing: bool) -> None:
        remotes: dict[str, Any] = dict.fromkeys(("asr", "llm", "tts", "turn"), Gone()) if missing else {}
        self._host = new_host()
        self._readiness = Readiness(remotes, self._host.directory, CallOptions())
        self._rooms = None

    def __del__(self) -> None:  # type: ignore[override]
        pass


class Gone:
    """A deployment that does not answer in time."""

    async def ask(self, *_: Any, **__: Any) -> Any:
        raise TimeoutError


def body(answer: Response) -> Any:
    return json.loads(bytes(answer.body))


@pytest.mark.parametrize("missing", [True, False])
async def test_health_and_readiness(missing: bool) -> None:
    door = Door(missing)
    health, ready = await door.health(), await door.ready()
    check(body(health), "http", "GET /health", "answers", health.status_code)
    check(body(ready), "http", "GET /ready", "answers", ready.status_code)
    assert ready.status_code == (503 if missing else 200)
    if missing:
        kinds = part("http", "GET /ready", "answers", 503, "properties", "missing", "items", "examples")
        assert body(ready)["missing"] == kinds
        assert "Retry-After" in ready.headers


def test_the_states_of_rooms() -> None:
    told = {
        text
        for path, tree in trees()
        if path.name in ("ingress.py", "desk.py")
        for text in strings(tree)
        if text in part("$defs", "rooms", "properties", "state", "enum")
    }
    assert told == set(part("$defs", "rooms", "properties", "state", "enum"))


async def test_stopping_a_call() -> None:
    door = Door(missing=False)
    hosted = door._host.admit()
    assert hosted is not None
    path = "POST /api/calls/{call}/stop"
    for call, status in ((hosted.name, 200), ("nobody", 404)):
        answer = await door.stop_speaking(call)
        assert answer.status_code == status
        check(body(answer), "http", path, "answers", status)


async def test_a_server_without_rooms_says_so() -> None:
    answer = await Door(missing=False).token(None)  # type: ignore[arg-type]
    check(body(answer), "http", "POST /api/livekit/token", "answers", answer.status_code)
    assert body(answer)["error"]["code"] in part("http", "POST /api/livekit/token", "error_codes")
