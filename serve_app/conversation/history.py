"""The items of a conversation, in order, cut back to what the caller really heard."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from deployments.contracts import Message
from deployments.errors import BadRequest
from serve_app.conversation.items import FunctionCallItem, FunctionOutputItem, Item, MessageItem

AUDIO_KEPT = 16
"""Spoken messages whose sound is kept for `retrieve`; that of older ones is forgotten: memory is bounded."""

CHARACTERS_PER_TOKEN = 4
"""English text in the vocabularies of current models; only used to keep prompts within bounds."""

BROKEN_OFF = " …"
"""After what was heard of an answer, for the LLM alone. A small model that is shown cut answers as whole ones makes
its own like them: shorter ones, then always the same, then words without spaces."""

MAX_TEXT_CHARS = 100_000
"""The longest text that the caller's side may give in one piece: an item's, or its instructions."""

MAX_ITEMS, MAX_CHARS = 10_000, 5_000_000
"""The most that a conversation holds. Beyond it an item that the caller's side makes is refused; what is said in the
call cannot be refused, so the oldest item, long gone from the prompt, makes room for it."""


def check_length(text: str, field: str) -> None:
    """Raises BadRequest that names `field` unless the text is short enough to be kept."""
    if len(text) > MAX_TEXT_CHARS:
        message = f"'{field}' has {len(text)} characters; at most {MAX_TEXT_CHARS} are taken."
        raise BadRequest(message, field=field, code="string_above_max_length")


def check_item(item: Item, path: str) -> None:
    """`check_length` of what the item says; `path` is where the item stands in the request."""
    if isinstance(item, FunctionCallItem):
        check_length(item.call.name, f"{path}.name")
        check_length(item.call.arguments, f"{path}.arguments")
    elif isinstance(item, FunctionOutputItem):
        check_length(item.output, f"{path}.output")
    else:
        check_length(item.text, f"{path}.content")


@dataclass(slots=True)
class Spoken:
    """A phrase of an answer and how long its sound lasts, as far as known. `text` is as written, with its spaces."""

    text: str
    duration_ms: float


def heard_text(phrases: list[Spoken], heard_ms: float) -> str:
    """The words whose sound had begun within `heard_ms`, taking each phrase's words to be evenly long by letters."""
    heard = ""
    for phrase in phrases:
        if heard_ms >= phrase.duration_ms:
            heard += phrase.text
            heard_ms -= phrase.duration_ms
            continue
        return heard + _first_words(phrase.text, heard_ms / phrase.duration_ms if heard_ms > 0 else 0.0)
    return heard


def _first_words(text: str, fraction: float) -> str:
    """The words of which most of the sound lies in the first `fraction` of the phrase."""
    end = 0
    for word in re.finditer(r"\s*\S+", text):
        middle = (word.start() + word.end()) / 2
        if middle > fraction * len(text):
            break
        end = word.end()
    return text[:end]


class History:
    """The conversation so far, bounded. Wrong ids raise BadRequest; the message names them."""

    def __init__(self, limit_tokens: int, items: Iterable[Item] = ()) -> None:
        """`items`: what was said before this call."""
        self.items: list[Item] = list(items)
        self._spoken: dict[str, list[Spoken]] = {}
        self._limit_tokens = limit_tokens
        self._first: Item | None = None  # the oldest item still in the prompt

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert behind the item `after` ("root": first, None: last). Returns the id of the item before it.

        Raises BadRequest also for an item that is too long, or for which the conversation is too long.
        """
        check_item(item, "item")
        if any(other.id == item.id for other in self.items):
            raise BadRequest(f"there is an item {item.id!r} already", field="item.id", code="item_id_already_exists")
        if isinstance(item, FunctionOutputItem):
            self._check_output(item)
        place = len(self.items) if after is None else self._behind(after)
        place = max(0, place - self._make_room(item))
        self.items.insert(place, item)
        self._forget_old_audio()
        return self.items[place - 1].id if place else None

    def _make_room(self, item: Item) -> int:
        """How many of the oldest items were forgotten for this one. Raises BadRequest if it may not push one out."""
        if _said(item):
            before = len(self.items)
            while len(self.items) >= MAX_ITEMS:
                self.delete(self.items[0].id)
            return before - len(self.items)
        if len(self.items) >= MAX_ITEMS or sum(map(_chars, [*self.items, item])) > MAX_CHARS:
            message = f"The conversation is full ({MAX_ITEMS} items, {MAX_CHARS} characters): delete items first."
            raise BadRequest(message, field="item", code="conversation_too_long")
        return 0

    def _forget_old_audio(self) -> None:
        spoken = [item for item in self.items if isinstance(item, MessageItem) and item.audio is not None]
        for item in spoken[:-AUDIO_KEPT]:
            item.audio = None

    def _check_output(self, item: FunctionOutputItem) -> None:
        calls = [other.call.call_id for other in self.items if isinstance(other, FunctionCallItem)]
        if item.call_id not in calls:
            known = ", ".join(calls) or "none"
            raise BadRequest(
                f"no function call {item.call_id!r} is in the conversation (known: {known})", field="item.call_id"
            )

    def _behind(self, item_id: str) -> int:
        return 0 if item_id == "root" else self._place(item_id, "previous_item_id") + 1

    def _place(self, item_id: str, field: str) -> int:
        for place, item in enumerate(self.items):
            if item.id == item_id:
                return place
        raise BadRequest(f"there is no item {item_id!r}", field=field, code="item_not_found")

    def get(self, item_id: str, field: str = "item_id") -> Item:
        """`field` is where the id stands in the request; an error names it."""
        return self.items[self._place(item_id, field)]

    def previous_id(self, item: Item) -> str | None:
        """The id of the item before this one; None when it is the first or not in the history."""
        place = next((place for place, other in enumerate(self.items) if other is item), 0)
        return self.items[place - 1].id if place else None

    def delete(self, item_id: str) -> None:
        place = self._place(item_id, "item_id")
        item = self.items.pop(place)
        self._spoken.pop(item_id, None)
        if item is self._first:
            self._first = self.items[place] if place < len(self.items) else None

    def speak(self, item: MessageItem, phrase: Spoken) -> None:
        """This phrase is spoken next in the answer `item`. Its duration may still be corrected."""
        self._spoken.setdefault(item.id, []).append(phrase)

    def check_cut(self, item_id: str, content_index: int, heard_ms: int) -> MessageItem:
        """The answer that may be cut so. Raises BadRequest that says why not."""
        item = self.get(item_id)
        if not isinstance(item, MessageItem) or item.role != "assistant" or item.modality != "audio":
            raise BadRequest(f"item {item_id!r} is not a spoken answer", field="item_id")
        if content_index != 0:
            raise BadRequest("the only content part is 0", field="content_index")
        whole_ms = sum(phrase.duration_ms for phrase in self._spoken.get(item_id, []))
        if heard_ms > whole_ms + 1000:  # the client's clock and ours may differ a little
            raise BadRequest(f"the audio has only {whole_ms:.0f} ms", field="audio_end_ms")
        return item

    def cut(self, item: MessageItem, heard_ms: int) -> None:
        """Keep of an answer what was heard in its first `heard_ms`."""
        spoken = self._spoken.get(item.id, [])
        item.text = heard_text(spoken, heard_ms).rstrip()
        if heard_ms < sum(phrase.duration_ms for phrase in spoken):
            item.heard_ms, item.status = heard_ms, "incomplete"

    def last_answer(self) -> str:
        """What the agent said last, as it was written, also what was not heard of it; "" before it said anything."""
        for item in reversed(self.items):
            if isinstance(item, MessageItem) and item.role == "assistant" and not item.aside and item.text:
                return "".join(phrase.text for phrase in self._spoken.get(item.id, ())).strip() or item.text
        return ""

    def prompt(self, instructions: str) -> list[Message]:
        """What an LLM is to see. The oldest turns are left out beyond the limit: half of it at once, so that the
        prompt's prefix stays the same for many turns and the model's cache stays useful."""
        self.compact()
        start = next((place for place, item in enumerate(self.items) if item is self._first), 0)
        return [Message("system", instructions), *messages(self.items[start:])]

    def compact(self, room_tokens: int = 0) -> bool:
        """Leave out the oldest turns if there is no room for so many more tokens. False: nothing has changed."""
        place = next((place for place, item in enumerate(self.items) if item is self._first), 0)
        if _tokens(self.items[place:]) + room_tokens <= self._limit_tokens:
            return False
        chosen: Item | None = None
        tokens = 0
        for item in reversed(self.items[place + 1 :]):
            tokens += _tokens([item])
            if chosen is not None and tokens > self._limit_tokens / 2:
                break
            if _begins_turn(item):
                chosen = item
        if chosen is None or chosen is self._first:
            return False
        self._first = chosen
        return True


def _begins_turn(item: Item) -> bool:
    return isinstance(item, MessageItem) and item.role == "user"


def _said(item: Item) -> bool:
    """An answer that is being made, or what the caller spoke."""
    return item.status == "in_progress" or (isinstance(item, MessageItem) and item.audio is not None)


def _chars(item: Item) -> int:
    if isinstance(item, FunctionCallItem):
        return len(item.call.name) + len(item.call.arguments)
    return len(item.output if isinstance(item, FunctionOutputItem) else item.text)


def _tokens(items: list[Item]) -> int:
    texts = [message.text for message in messages(items)]
    return sum(len(text) // CHARACTERS_PER_TOKEN + 4 for text in texts)


def messages(items: list[Item]) -> list[Message]:
    """Items as messages to an LLM; those without words, and asides, are left out, and a cut answer is shown for one."""
    result = []
    for item in items:
        if isinstance(item, FunctionCallItem):
            result.append(Message("assistant", "", tool_calls=(item.call,)))
        elif isinstance(item, FunctionOutputItem):
            result.append(Message("tool", item.output, call_id=item.call_id))
        elif item.text.strip() and not item.aside:
            result.append(Message(item.role, item.text.strip() + (BROKEN_OFF if _broken_off(item) else "")))
    return result


def _broken_off(item: MessageItem) -> bool:
    return item.role == "assistant" and item.status == "incomplete"
