"""For the tests of the Realtime socket: a small call behind a real web server, and the schema that clients hold."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI, WebSocket
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter
from starlette.testclient import TestClient, WebSocketTestSession

from deployments.contracts import Pcm, ToolCall, Usage
from deployments.errors import BadRequest, CallerGone
from serve_app.conversation import messages as m
from serve_app.conversation.history import History, Spoken
from serve_app.conversation.items import (
    Answer,
    CallSettings,
    FunctionCallItem,
    Item,
    MessageItem,
    new_id,
)
from serve_app.transports.realtime_socket import RealtimeLimits, RealtimeSocket, read_extensions

VOICES = ("alloy", "marin")
WORDS = ("You said: ", "something.")
ANSWER_PCM: Pcm = (8000 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 24_000)).astype(np.int16)  # 1 s of A4

_SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)


class ScriptedCall:
    """A real history; answers every `CreateAnswer` with the same words and a second of 440 Hz."""

    def __init__(self, socket: RealtimeSocket) -> None:
        self.socket = socket
        self.history = History(limit_tokens=1000)
        self.pending: list[Pcm] = []
        self.settings: CallSettings | None = None
        self.orders: list[m.Order] = []

    async def run(self) -> None:
        try:
            async for thing in self.socket.inputs():
                if isinstance(thing, np.ndarray):
                    self.pending.append(thing)
                else:
                    self.orders.append(thing)
                    await self.obey(thing)
        except CallerGone:
            return

    async def obey(self, order: m.Order) -> None:
        try:
            async for event in self.events(order):
                await self.socket.send_event(event)
        except BadRequest as wrong:
            await self.socket.send_event(m.Problem(str(wrong), wrong.code, wrong.field, order.ref))

    async def events(self, order: m.Order) -> AsyncIterator[m.Event]:
        match order:
            case m.Configure(settings):
                self.settings = settings
                yield m.Configured(settings)
            case m.CommitAudio():
                for event in self.commit():
                    yield event
            case m.ClearAudio():
                self.pending.clear()
                yield m.AudioCleared()
            case m.CreateItem(item, after):
                for event in self.add(item, after):
                    yield event
            case m.RetrieveItem(item_id):
                yield m.ItemRetrieved(self.history.get(item_id))
            case m.DeleteItem(item_id):
                self.history.delete(item_id)
                yield m.ItemDeleted(item_id)
            case m.TruncateItem(item_id, index, end_ms):
                self.history.cut(self.history.check_cut(item_id, index, end_ms), end_ms)
                yield m.ItemTruncated(item_id, index, end_ms)
            case m.CancelAnswer():
                raise BadRequest(
                    "No answer is under way to cancel.", field="response_id", code="response_cancel_not_active"
                )
            case m.CreateAnswer(options):
                for place, given in enumerate(options.input or ()):
                    if isinstance(given, str):
                        self.history.get(given, f"response.input[{place}].id")
                async for event in self.answer(Answer(options, options.output or "audio", options.voice, None)):
                    yield event

    def commit(self) -> Iterator[m.Event]:
        if not self.pending:
            raise BadRequest("The audio buffer is empty.", code="input_audio_buffer_commit_empty")
        item = MessageItem("user", "something", "audio", audio=np.concatenate(self.pending))
        self.pending.clear()
        yield m.AudioCommitted(item.id, self.history.items[-1].id if self.history.items else None)
        yield from self.add(item, None)
        yield m.Transcribed(item.id, item.text, 1.0)

    def add(self, item: Item, after: str | None) -> Iterator[m.Event]:
        previous = self.history.add(item, after)
        yield m.ItemAdded(item, previous)
        yield m.ItemDone(item, previous)

    def begin(self, item: Item, answer: Answer) -> m.ItemAdded:
        answer.items.append(item)
        previous = self.history.add(item) if answer.options.in_conversation else None
        return m.ItemAdded(item, previous, answer)

    def finish(self, item: Item, answer: Answer) -> m.ItemDone:
        item.status = "completed"
        return m.ItemDone(item, self.history.previous_id(item), answer)

    async def answer(self, answer: Answer) -> AsyncIterator[m.Event]:
        yield m.AnswerStarted(answer)
        item = MessageItem("assistant", "", answer.output, status="in_progress")
        yield self.begin(item, answer)
        for word in WORDS:
            item.text += word
            yield m.AnswerText(answer, item, word)
        if answer.output == "audio":
            self.history.speak(item, Spoken(item.text, 1000))
            await self.socket.play(ANSWER_PCM, item)
        yield self.finish(item, answer)
        for tool in (answer.options.tools or ())[:1]:
            call = FunctionCallItem(ToolCall(new_id("call"), tool.name, '{"city":"Bern"}'), status="in_progress")
            yield self.begin(call, answer)
            yield m.ToolArguments(answer, call)
            yield self.finish(call, answer)
        answer.status, answer.usage = "completed", Usage(12, 4, 3)
        yield m.AnswerFinished(answer)


class Rig:
    """The server's side of the test: every call that was made to it."""

    def __init__(self, limits: RealtimeLimits) -> None:
        self.calls: list[ScriptedCall] = []
        self.app = FastAPI()
        self.limits = limits
        self.app.add_api_websocket_route("/v1/realtime", self.realtime)

    async def realtime(self, websocket: WebSocket, model: str = "antiphon", antiphon_events: str = "") -> None:
        await websocket.accept()
        socket = RealtimeSocket(
            websocket,
            CallSettings("Be brief."),
            session_id="sess_test",
            model=model,
            voices=VOICES,
            limits=self.limits,
            extensions=read_extensions(antiphon_events),
        )
        call = ScriptedCall(socket)
        self.calls.append(call)
        await call.run()


class Client:
    """The caller's side. Everything that arrives has to be in the schema."""

    def __init__(self, websocket: WebSocketTestSession) -> None:
        self.websocket = websocket

    def send(self, *events: dict[str, Any]) -> None:
        for event in events:
            self.websocket.send_json(event)

    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = self.websocket.receive_json()
        check_server_event(event)
        return event

    def until(self, kind: str) -> list[dict[str, Any]]:
        """Everything up to the first event of this type, which is the last one returned."""
        events = [self.event()]
        while events[-1]["type"] != kind:
            events.append(self.event())
        return events


@contextmanager
def connected(query: str = "", *, greet: bool = True) -> Iterator[tuple[Client, ScriptedCall]]:
    """A client that was greeted, and the call that serves it. `greet` False: the greeting is still to be read."""
    rig = Rig(RealtimeLimits())
    with TestClient(rig.app) as http, http.websocket_connect(f"/v1/realtime?model=antiphon{query}") as websocket:
        client = Client(websocket)
        if greet:
            assert kinds(client.until("conversation.created")) == ["session.created", "conversation.created"]
        yield client, rig.calls[0]


def check_server_event(event: dict[str, Any]) -> None:
    """Valid, strictly, for the `openai` package's types, and without a field that they do not know."""
    if event["type"].startswith("antiphon."):
        assert event["event_id"]
        return
    model = _SERVER_EVENT.validate_python(event, strict=True)
    assert model.type == event["type"]
    unknown = set(_unknown(model, ""))
    # OpenAI's own session objects carry these two, though the type of the event does not list them.
    assert unknown <= {".session.id", ".session.object"}, unknown


def _unknown(value: object, path: str) -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{path}.{name}" for name in value.model_extra or ())
        for name in value.model_fields_set:
            yield from _unknown(getattr(value, name, None), f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from _unknown(inner, path)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def update(client: Client, **fields: Any) -> dict[str, Any]:
    client.send({"type": "session.update", "session": {"type": "realtime", **fields}})
    session: dict[str, Any] = client.until("session.updated")[-1]["session"]
    return session
