"""For the tests of the Realtime socket: a small call behind a real web server, and the schema that clients hold."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI, WebSocket
from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter
from starlette.testclient import TestClient, WebSocketTestSession

from deployments.contracts import Pcm, Tool, ToolCall, Usage
from deployments.errors import CallerGone
from serve_app.conversation import messages as m
from serve_app.conversation.items import (
    Answer,
    CallSettings,
    FunctionCallItem,
    FunctionOutputItem,
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
    """Keeps a history, answers every `CreateAnswer` with the same words and a second of 440 Hz."""

    def __init__(self, socket: RealtimeSocket) -> None:
        self.socket = socket
        self.items: dict[str, Item] = {}
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
                    async for event in self.obey(thing):
                        await self.socket.send_event(event)
        except CallerGone:
            return

    async def obey(self, order: m.Order) -> AsyncIterator[m.Event]:
        match order:
            case m.Configure(settings):
                self.settings = settings
                yield m.Configured(settings)
            case m.CommitAudio(ref):
                if not self.pending:
                    yield m.Problem("The audio buffer is empty.", "input_audio_buffer_commit_empty", ref=ref)
                    return
                item = MessageItem("user", "something", "audio", audio=np.concatenate(self.pending))
                self.pending.clear()
                yield m.AudioCommitted(item.id, None)
                async for event in self.add(item, None, ref):
                    yield event
                yield m.Transcribed(item.id, item.text, 1.0)
            case m.ClearAudio():
                self.pending.clear()
                yield m.AudioCleared()
            case m.CreateItem(item, after, ref):
                async for event in self.add(item, after, ref):
                    yield event
            case m.RetrieveItem(item_id, ref) | m.DeleteItem(item_id, ref) | m.TruncateItem(item_id, _, _, ref):
                yield self.look_up(order, item_id, ref)
            case m.CancelAnswer(_, ref):
                yield m.Problem("No answer is under way to cancel.", "response_cancel_not_active", ref=ref)
            case m.CreateAnswer(options, ref):
                unknown = [i for i in options.input or () if isinstance(i, str) and i not in self.items]
                if unknown:
                    yield m.Problem(f"There is no item '{unknown[0]}'.", "item_not_found", "response.input", ref)
                    return
                async for event in self.answer(Answer(options, options.output or "audio", "alloy", None)):
                    yield event

    def look_up(self, order: m.Order, item_id: str, ref: str | None) -> m.Event:
        item = self.items.get(item_id)
        if item is None:
            return m.Problem(f"There is no item '{item_id}'.", "item_not_found", "item_id", ref)
        match order:
            case m.RetrieveItem():
                return m.ItemRetrieved(item)
            case m.DeleteItem():
                del self.items[item_id]
                return m.ItemDeleted(item_id)
            case m.TruncateItem(_, index, end_ms):
                if not isinstance(item, MessageItem) or item.role != "assistant" or end_ms > 1000:
                    return m.Problem("Only what was spoken can be cut.", "invalid_value", "audio_end_ms", ref)
                return m.ItemTruncated(item_id, index, end_ms)
        raise AssertionError(order)

    async def add(self, item: Item, after: str | None, ref: str | None) -> AsyncIterator[m.Event]:
        calls = {i.call.call_id for i in self.items.values() if isinstance(i, FunctionCallItem)}
        if item.id in self.items:
            yield m.Problem(f"There is an item '{item.id}' already.", "item_exists", "item.id", ref)
        elif after not in (None, "root", *self.items):
            yield m.Problem(f"There is no item '{after}'.", "item_not_found", "previous_item_id", ref)
        elif isinstance(item, FunctionOutputItem) and item.call_id not in calls:
            yield m.Problem(f"There is no call '{item.call_id}'.", "call_not_found", "item.call_id", ref)
        else:
            self.items[item.id] = item
            yield m.ItemAdded(item, after)
            yield m.ItemDone(item, after)

    async def answer(self, answer: Answer) -> AsyncIterator[m.Event]:
        yield m.AnswerStarted(answer)
        item = MessageItem("assistant", "", answer.output, status="in_progress")
        answer.items.append(item)
        self.items[item.id] = item
        yield m.ItemAdded(item, None, answer)
        for word in WORDS:
            item.text += word
            yield m.AnswerText(answer, item, word)
        if answer.output == "audio":
            await self.socket.play(ANSWER_PCM, item)
        item.status = "completed"
        yield m.ItemDone(item, None, answer)
        if answer.options.tools:
            async for event in self.call_tool(answer, answer.options.tools[0]):
                yield event
        answer.status, answer.usage = "completed", Usage(12, 4, 3)
        yield m.AnswerFinished(answer)

    async def call_tool(self, answer: Answer, tool: Tool) -> AsyncIterator[m.Event]:
        item = FunctionCallItem(ToolCall(new_id("call"), tool.name, '{"city":"Bern"}'), status="in_progress")
        answer.items.append(item)
        self.items[item.id] = item
        yield m.ItemAdded(item, None, answer)
        yield m.ToolArguments(answer, item)
        item.status = "completed"
        yield m.ItemDone(item, None, answer)


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
def connected(query: str = "", limits: RealtimeLimits | None = None) -> Iterator[tuple[Client, ScriptedCall]]:
    """A client that was greeted, and the call that serves it."""
    rig = Rig(limits or RealtimeLimits())
    with TestClient(rig.app) as http, http.websocket_connect(f"/v1/realtime?model=antiphon{query}") as websocket:
        client = Client(websocket)
        assert [client.event()["type"], client.event()["type"]] == ["session.created", "conversation.created"]
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
