"""What passes between a call and its transport, besides sound: orders in, events out.

Orders are named as what the caller's side wants done; events as facts. Both keep the order in which they were made.
A transport turns them into the protocol it speaks. Times are milliseconds of the call's input clock: the caller's
audio received so far.
"""

from dataclasses import dataclass
from typing import Literal

from serve_app.conversation.items import (
    Answer,
    AnswerOptions,
    CallSettings,
    Ending,
    FunctionCallItem,
    Item,
    MessageItem,
)

Pauser = Literal["voice", "order", "absence"]
"""Why the agent is silent within an answer: the caller's voice, their order, or because they are not there."""

# --- orders: from the caller's side to the call. `ref` comes back in `Problem.ref` when the order was wrong.


@dataclass(frozen=True, slots=True)
class Configure:
    """From now on these settings hold."""

    settings: CallSettings
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class CommitAudio:
    """The audio since the last commit is the caller's turn."""

    ref: str | None = None


@dataclass(frozen=True, slots=True)
class ClearAudio:
    """Forget the audio since the last commit."""

    ref: str | None = None


@dataclass(frozen=True, slots=True)
class CreateItem:
    """Put an item into the history, after `after`: an item's id, "root" (first), or None (last)."""

    item: Item
    after: str | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class RetrieveItem:
    item_id: str
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteItem:
    item_id: str
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """The caller heard only the first `audio_end_ms` of this answer."""

    item_id: str
    content_index: int
    audio_end_ms: int
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class CreateAnswer:
    options: AnswerOptions
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """Stop the answer with this id, or the one under way."""

    answer_id: str | None = None
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class TypeText:
    """The caller typed this: it interrupts the answer under way, if there is one, and is answered."""

    text: str
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class StopSpeaking:
    """Fall silent for good; the history keeps what was heard. Nothing happens where nothing is being said."""

    ref: str | None = None


@dataclass(frozen=True, slots=True)
class PauseSpeaking:
    """Fall silent until `by` orders the contrary, or the answer is stopped."""

    by: Pauser = "order"
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class ResumeSpeaking:
    """Go on where `PauseSpeaking` fell silent."""

    by: Pauser = "order"
    ref: str | None = None


Order = (
    Configure
    | CommitAudio
    | ClearAudio
    | CreateItem
    | RetrieveItem
    | DeleteItem
    | TruncateItem
    | CreateAnswer
    | CancelAnswer
    | TypeText
    | StopSpeaking
    | PauseSpeaking
    | ResumeSpeaking
)

# --- events: from the call to the caller's side


@dataclass(frozen=True, slots=True)
class Configured:
    settings: CallSettings


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """`item_id` is the id that the message will have. `audio_start_ms` includes the prefix padding."""

    item_id: str
    audio_start_ms: int


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class IdleTimedOut:
    """Nobody spoke for `idle_timeout_ms` after the agent; the silence is committed and answered."""

    item_id: str
    audio_start_ms: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class AudioCommitted:
    item_id: str
    previous_item_id: str | None


@dataclass(frozen=True, slots=True)
class AudioCleared:
    pass


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """An item is in the history. An answer's items carry the `answer` that they belong to."""

    item: Item
    previous_item_id: str | None
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class ItemDone:
    """Nothing will be added to this item any more."""

    item: Item
    previous_item_id: str | None
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class ItemRetrieved:
    item: Item


@dataclass(frozen=True, slots=True)
class ItemDeleted:
    item_id: str


@dataclass(frozen=True, slots=True)
class ItemTruncated:
    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The caller's words, final. `seconds` of audio were listened to."""

    item_id: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class TranscribedPart:
    """Some of the caller's words before all of them are known: these follow those sent before."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class TranscribedSoFar:
    """The caller's words while the turn may still go on. The first `stable` characters stay as they are, the others may
    change."""

    item_id: str
    text: str
    stable: int = 0


@dataclass(frozen=True, slots=True)
class TranscriptionFailed:
    item_id: str
    message: str


@dataclass(frozen=True, slots=True)
class AnswerStarted:
    answer: Answer


@dataclass(frozen=True, slots=True)
class AnswerText:
    """Some more text of the answer: its words as written, or its transcript when it is spoken."""

    answer: Answer
    item: MessageItem
    text: str


@dataclass(frozen=True, slots=True)
class ToolArguments:
    """The arguments of a function call, complete."""

    answer: Answer
    item: FunctionCallItem


@dataclass(frozen=True, slots=True)
class AnswerFinished:
    """Nothing more of this answer will be sent; `answer.status` says how it ended."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Problem:
    """Something was wrong. `ours`: the fault is the server's; else the client's, in the order `ref`."""

    message: str
    code: str
    field: str | None = None
    ref: str | None = None
    ours: bool = False


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The call's state: idle, hearing, ending, thinking, speaking, held or closed."""

    state: str


@dataclass(frozen=True, slots=True)
class TurnTimed:
    """A turn is over. `timeline` is what `Timeline.as_message()` returns."""

    timeline: dict[str, object]


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The agent has said its last word and ends the call."""

    reason: Ending


@dataclass(frozen=True, slots=True)
class GoingAway:
    """This server takes no new calls. Those that last longer than `within_s` are cut then."""

    within_s: float


Event = (
    Configured
    | SpeechStarted
    | SpeechStopped
    | IdleTimedOut
    | AudioCommitted
    | AudioCleared
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemDeleted
    | ItemTruncated
    | Transcribed
    | TranscribedPart
    | TranscribedSoFar
    | TranscriptionFailed
    | AnswerStarted
    | AnswerText
    | ToolArguments
    | AnswerFinished
    | Problem
    | StateChanged
    | TurnTimed
    | CallEnded
    | GoingAway
)
