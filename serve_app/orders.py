"""What the caller's side may order during a call, and how the call obeys. A wrong order becomes a `Problem`."""

from typing import TYPE_CHECKING

from deployments.errors import BadRequest
from serve_app.conversation.items import AnswerOptions
from serve_app.conversation.listening import milliseconds
from serve_app.conversation.messages import (
    AudioCleared,
    CancelAnswer,
    ClearAudio,
    CommitAudio,
    Configure,
    Configured,
    CreateAnswer,
    CreateItem,
    DeleteItem,
    ItemDeleted,
    ItemRetrieved,
    ItemTruncated,
    Order,
    PauseSpeaking,
    Problem,
    ResumeSpeaking,
    RetrieveItem,
    StopSpeaking,
    TruncateItem,
    TypeText,
)
from serve_app.conversation.turns import Event

if TYPE_CHECKING:
    from serve_app.call import Call

SHORTEST_COMMIT_MS = 100
"""The shortest audio that can be committed, as in OpenAI's protocol: less holds no word."""


def obey(call: "Call", order: Order) -> None:
    """Carry out one order. What is wrong with it is told to the caller's side, and the call goes on."""
    try:
        _obey(call, order)
    except BadRequest as wrong:
        call.stage.outbox.tell(Problem(str(wrong), wrong.code, wrong.field, order.ref))


def _obey(call: "Call", order: Order) -> None:
    match order:
        case Configure():
            _configure(call, order)
        case CommitAudio():
            _commit(call)
        case ClearAudio():
            _clear(call)
        case CreateItem():
            call.add_item(order.item, order.after)
            call.drop_prepared_reply()
        case RetrieveItem():
            call.stage.outbox.tell(ItemRetrieved(call.stage.history.get(order.item_id)))
        case DeleteItem():
            call.stage.history.delete(order.item_id)
            call.keep()
            call.drop_prepared_reply()
            call.stage.outbox.tell(ItemDeleted(order.item_id))
        case TruncateItem():
            _truncate(call, order)
        case CreateAnswer():
            _create_answer(call, order.options)
        case CancelAnswer():
            _cancel_answer(call, order.answer_id)
        case TypeText():
            call.type_text(order.text)
        case StopSpeaking():
            call.stop_speaking()
        case PauseSpeaking():
            call.stage.outbox.pause(order.by)
        case ResumeSpeaking():
            call.stage.outbox.resume(order.by)


def _configure(call: "Call", order: Configure) -> None:
    before, read = call.settings.turn_detection, (call.settings.instructions, call.settings.tools)
    call.drop_prepared_reply()
    call.settings = order.settings
    call.keep()
    if read != (order.settings.instructions, order.settings.tools):
        call.prefill()
    call.manners.prepare()
    call.ear.attend(order.settings.turn_detection)
    call.recorder.listens(call.ear.hearing, order.settings.turn_detection)
    if before is not None and order.settings.turn_detection is None and call.turn is not None:
        call.step(Event.TURN_DISCARDED)  # nobody would end this turn now; its audio can still be committed
    call.stage.outbox.tell(Configured(order.settings))


def _commit(call: "Call") -> None:
    memory = call.ear.memory
    first = max(call.uncommitted_sample, memory.first_sample)
    if milliseconds(memory.next_sample - first) < SHORTEST_COMMIT_MS:
        raise BadRequest(
            f"the audio buffer is empty, or as good as that: it holds {milliseconds(memory.next_sample - first)} ms,"
            f" and at least {SHORTEST_COMMIT_MS} ms are needed",
            code="input_audio_buffer_commit_empty",
        )
    call.step(Event.TURN_COMMITTED)


def _clear(call: "Call") -> None:
    call.uncommitted_sample = call.ear.memory.next_sample
    call.step(Event.TURN_DISCARDED)
    call.stage.outbox.tell(AudioCleared())


def _truncate(call: "Call", order: TruncateItem) -> None:
    item = call.stage.history.check_cut(order.item_id, order.content_index, order.audio_end_ms)
    if call.reply is not None and call.reply.holds(order.item_id):
        call.step(Event.ANSWER_CANCELLED)  # also when all was sent: the caller's side has stopped playing it
    call.stage.history.cut(item, order.audio_end_ms)
    call.keep()
    call.stage.outbox.tell(ItemTruncated(order.item_id, order.content_index, order.audio_end_ms))


def _create_answer(call: "Call", options: AnswerOptions) -> None:
    if call.reply is not None and not call.reply.finished:
        raise BadRequest(
            f"the answer {call.reply.answer.id} is under way: cancel it first, or wait for its end",
            code="conversation_already_has_active_response",
        )
    for index, given in enumerate(options.input or ()):
        if isinstance(given, str):
            call.stage.history.get(given, f"response.input[{index}].id")
    call.request_answer(options)


def _cancel_answer(call: "Call", answer_id: str | None) -> None:
    reply = call.reply
    if reply is None or reply.finished or answer_id not in (None, reply.answer.id):
        raise BadRequest(
            "there is no such answer under way to cancel", field="response_id", code="response_cancel_not_active"
        )
    call.step(Event.ANSWER_CANCELLED)
