"""From the call's events to the server events of the Realtime protocol, in OpenAI's order.

For each answer: response.created and rate_limits.updated (an empty list: there are none); for each item
response.output_item.added, conversation.item.added, its parts, its deltas and their "done", response.output_item.done,
conversation.item.done; at last response.done. Whatever the call left open when an answer was cut is closed before
response.done, so a client never waits for a "done".

An answer outside the conversation has no conversation.item events.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deployments.contracts import Pcm
from serve_app.conversation import messages as m
from serve_app.conversation.items import Answer, FunctionCallItem, Item, MessageItem, new_id
from serve_app.transports.realtime_audio import OutputStream
from serve_app.transports.realtime_items import item_begun, item_wire, part_wire, response_wire
from serve_app.transports.realtime_parse import Wire
from serve_app.transports.realtime_session import Session

TIMELINE, STATE, TRANSCRIPT, GOING_AWAY = "timeline.v1", "state.v1", "transcript.v1", "going_away.v1"
EXTENSIONS = frozenset({TIMELINE, STATE, TRANSCRIPT, GOING_AWAY})
"""Our own events, sent only to those who asked for them by name when they connected."""

_AnswerEvent = m.AnswerStarted | m.AnswerFinished | m.AnswerText | m.ToolArguments


@dataclass
class _Open:
    """An item of an answer that is being sent."""

    answer: Answer
    item: Item
    output_index: int
    previous_item_id: str | None
    text: str = ""
    arguments_sent: bool = False
    audio: OutputStream | None = None
    done: Wire | None = None


@dataclass
class _Sent:
    """What the client knows of an answer."""

    answer: Answer
    items: list[_Open] = field(default_factory=list)


class Renderer:
    """Remembers what the client was told of the answers under way. No I/O."""

    def __init__(self, session: Session, extensions: Iterable[str]) -> None:
        self.session = session  # the one that the client was last told
        self.conversation_id = new_id("conv")
        self._extensions = EXTENSIONS & frozenset(extensions)
        self._answers: dict[str, _Sent] = {}

    def render(self, event: m.Event) -> Iterator[Wire]:
        """Server events without their `event_id`."""
        match event:
            case m.AnswerStarted() | m.AnswerFinished() | m.AnswerText() | m.ToolArguments():
                yield from self._answer_event(event)
            case m.ItemAdded() if event.answer is not None:
                yield from self._add(event.answer, event.item, event.previous_item_id)
            case m.ItemDone() if event.answer is not None:
                if (open_item := self._find(event.item.id)) is not None:
                    yield from self._close(open_item, event.item.status)
            case m.TurnTimed(timeline):
                if TIMELINE in self._extensions:
                    yield {"type": f"antiphon.{TIMELINE}", "timeline": timeline}
            case m.StateChanged(state):
                if STATE in self._extensions:
                    yield {"type": f"antiphon.{STATE}", "state": state}
            case m.GoingAway(within_s):
                if GOING_AWAY in self._extensions:
                    yield {"type": f"antiphon.{GOING_AWAY}", "within_s": within_s}
            case m.Problem():
                yield error_wire(event.message, event.code, event.field, event.ref, ours=event.ours)
            case m.TranscribedSoFar(item_id, text, stable):
                if TRANSCRIPT in self._extensions:  # OpenAI's deltas only ever add words
                    so_far = {"item_id": item_id, "text": text, "stable_characters": stable}
                    yield {"type": f"antiphon.{TRANSCRIPT}", **so_far}
            case m.CallEnded():
                pass  # the reason of the closing frame says it
            case _:
                yield _plain(event, self.session)

    def is_open(self, item: MessageItem) -> bool:
        """Was the item added, and is it not done?"""
        return self._find(item.id) is not None

    def audio(self, pcm: Pcm, item: MessageItem) -> Iterator[Wire]:
        """int16[n] at 24 kHz of an item that was added and is not done; else nothing is sent."""
        open_item = self._find(item.id)
        if open_item is None:
            return
        if open_item.audio is None:
            open_item.audio = OutputStream(self.session.output_format)
        yield from _audio_delta(open_item, open_item.audio.push(pcm))

    def _answer_event(self, event: _AnswerEvent) -> Iterator[Wire]:
        match event:
            case m.AnswerStarted(answer):
                self._answers[answer.id] = _Sent(answer)
                yield {"type": "response.created", "response": self._response(answer)}
                yield {"type": "rate_limits.updated", "rate_limits": []}
            case m.AnswerFinished(answer):
                yield from self._finish(answer)
            case m.AnswerText(_, item, text):
                if (open_item := self._find(item.id)) is not None and text:
                    open_item.text += text
                    yield {"type": f"{_text_event(open_item)}.delta", **_place(open_item), "delta": text}
            case m.ToolArguments(_, item):
                if (open_item := self._find(item.id)) is not None:
                    yield from _arguments(open_item, item)

    def _response(self, answer: Answer) -> Wire:
        sent = self._answers.get(answer.id)
        output = [item.done for item in sent.items if item.done is not None] if sent is not None else []
        speaking = self.session.shown["audio"]["output"] | ({"voice": answer.voice} if answer.voice else {})
        return response_wire(answer, output, self.conversation_id, speaking)

    def _find(self, item_id: str) -> _Open | None:
        found = (item for sent in self._answers.values() for item in sent.items if item.item.id == item_id)
        return next((item for item in found if item.done is None), None)

    def _add(self, answer: Answer, item: Item, previous_item_id: str | None) -> Iterator[Wire]:
        sent = self._answers.get(answer.id)
        if sent is None:  # the answer is over: a late item would confuse the client
            return
        opened = _Open(answer, item, len(sent.items), previous_item_id)
        sent.items.append(opened)
        wire = item_begun(item)
        yield {"type": "response.output_item.added", **_output(opened), "item": wire}
        if answer.options.in_conversation:
            yield {"type": "conversation.item.added", "previous_item_id": previous_item_id, "item": wire}
        if isinstance(item, MessageItem):
            yield {"type": "response.content_part.added", **_place(opened), "part": part_wire(item, "")}

    def _close(self, opened: _Open, status: str) -> Iterator[Wire]:
        opened.done = item_wire(opened.item, status="incomplete" if status == "in_progress" else status)
        if isinstance(opened.item, MessageItem):
            yield from _message_done(opened, opened.item)
        elif isinstance(opened.item, FunctionCallItem):
            yield from _arguments(opened, opened.item)
        yield {"type": "response.output_item.done", **_output(opened), "item": opened.done}
        if opened.answer.options.in_conversation:
            previous = opened.previous_item_id
            yield {"type": "conversation.item.done", "previous_item_id": previous, "item": opened.done}

    def _finish(self, answer: Answer) -> Iterator[Wire]:
        sent = self._answers.get(answer.id)
        for opened in sent.items if sent is not None else ():
            if opened.done is None:
                yield from self._close(opened, "incomplete")
        yield {"type": "response.done", "response": self._response(answer)}
        self._answers.pop(answer.id, None)


def error_wire(message: str, code: str, param: str | None, ref: str | None, *, ours: bool = False) -> Wire:
    """An error event. Names that the client chose may be long; they are cut, so that an error stays small."""
    return {
        "type": "error",
        "error": {
            "type": "server_error" if ours else "invalid_request_error",
            "code": code,
            "message": message[:500],
            "param": None if param is None else param[:200],
            "event_id": ref,
        },
    }


def _plain(event: m.Event, session: Session) -> Wire:
    """Events that are one server event each."""
    buffer, items = "input_audio_buffer", "conversation.item"
    match event:
        case m.Configured():
            return {"type": "session.updated", "session": session.shown}
        case m.SpeechStarted(item_id, at_ms):
            return {"type": f"{buffer}.speech_started", "item_id": item_id, "audio_start_ms": at_ms}
        case m.SpeechStopped(item_id, at_ms):
            return {"type": f"{buffer}.speech_stopped", "item_id": item_id, "audio_end_ms": at_ms}
        case m.IdleTimedOut(item_id, start_ms, end_ms):
            span = {"audio_start_ms": start_ms, "audio_end_ms": end_ms}
            return {"type": f"{buffer}.timeout_triggered", "item_id": item_id, **span}
        case m.AudioCommitted(item_id, previous):
            return {"type": f"{buffer}.committed", "item_id": item_id, "previous_item_id": previous}
        case m.AudioCleared():
            return {"type": f"{buffer}.cleared"}
        case m.ItemAdded(item, previous):
            return {"type": f"{items}.added", "previous_item_id": previous, "item": item_wire(item)}
        case m.ItemDone(item, previous):
            return {"type": f"{items}.done", "previous_item_id": previous, "item": item_wire(item)}
        case m.ItemRetrieved(item):
            return {"type": f"{items}.retrieved", "item": item_wire(item, with_audio=True)}
        case m.ItemDeleted(item_id):
            return {"type": f"{items}.deleted", "item_id": item_id}
        case m.ItemTruncated(item_id, index, end_ms):
            place = {"item_id": item_id, "content_index": index}
            return {"type": f"{items}.truncated", **place, "audio_end_ms": end_ms}
        case m.Transcribed() | m.TranscribedPart() | m.TranscriptionFailed():
            return _transcription(event)
    raise TypeError(f"an event without words: {type(event).__name__}")


def _transcription(event: m.Transcribed | m.TranscribedPart | m.TranscriptionFailed) -> Wire:
    kind, place = "conversation.item.input_audio_transcription", {"item_id": event.item_id, "content_index": 0}
    match event:
        case m.Transcribed(_, text, seconds):
            usage = {"type": "duration", "seconds": seconds}
            return {"type": f"{kind}.completed", **place, "transcript": text, "usage": usage}
        case m.TranscribedPart(_, text):
            return {"type": f"{kind}.delta", **place, "delta": text}
        case m.TranscriptionFailed(_, message):
            error = {"type": "server_error", "code": "transcription_failed", "message": message}
            return {"type": f"{kind}.failed", **place, "error": error}


# --- pieces of an answer's item


def _output(opened: _Open) -> Wire:
    return {"response_id": opened.answer.id, "output_index": opened.output_index}


def _place(opened: _Open) -> Wire:
    return {**_output(opened), "item_id": opened.item.id, "content_index": 0}


def _spoken(opened: _Open) -> bool:
    return isinstance(opened.item, MessageItem) and opened.item.modality == "audio"


def _text_event(opened: _Open) -> str:
    return "response.output_audio_transcript" if _spoken(opened) else "response.output_text"


def _audio_delta(opened: _Open, delta: str) -> Iterator[Wire]:
    if delta:
        yield {"type": "response.output_audio.delta", **_place(opened), "delta": delta}


def _message_done(opened: _Open, item: MessageItem) -> Iterator[Wire]:
    if _spoken(opened):
        if opened.audio is not None and item.status == "completed":
            yield from _audio_delta(opened, opened.audio.rest())
        yield {"type": "response.output_audio.done", **_place(opened)}
    name = "transcript" if _spoken(opened) else "text"
    yield {"type": f"{_text_event(opened)}.done", **_place(opened), name: opened.text}
    yield {"type": "response.content_part.done", **_place(opened), "part": part_wire(item, opened.text)}


def _arguments(opened: _Open, item: FunctionCallItem) -> Iterator[Wire]:
    if opened.arguments_sent:
        return
    opened.arguments_sent = True
    place = {**_output(opened), "item_id": item.id, "call_id": item.call.call_id}
    kind, text = "response.function_call_arguments", item.call.arguments
    if text:
        yield {"type": f"{kind}.delta", **place, "delta": text}
    yield {"type": f"{kind}.done", **place, "name": item.call.name, "arguments": text}
