"""An answer as its items: what the caller's side is told of it, and what the history gets."""

from deployments.contracts import ToolCall
from serve_app.conversation.items import Answer, FunctionCallItem, Item, MessageItem, Modality, Status
from serve_app.conversation.messages import (
    AnswerFinished,
    AnswerStarted,
    AnswerText,
    ItemAdded,
    ItemDone,
    ToolArguments,
)
from serve_app.stage import Stage


class ToldAnswer:
    """One answer: it begins, grows by text and tool calls, and is finished. What is said aside has a message of its
    own."""

    def __init__(self, stage: Stage, answer: Answer) -> None:
        self.answer = answer
        self.begun = False
        self.finished = False
        """Everything was said about it, or it was dropped unheard."""
        self._stage = stage
        self._message: MessageItem | None = None
        self._aside: MessageItem | None = None
        self._open: list[Item] = []
        """Told of, and not yet done."""

    def holds(self, item_id: str) -> bool:
        """Is this one of the answer's messages?"""
        return any(item is not None and item.id == item_id for item in (self._message, self._aside))

    def begin(self) -> None:
        """Once; told again it does nothing."""
        if not self.begun:
            self.begun = True
            self._stage.outbox.tell(AnswerStarted(self.answer))

    def say(self, text: str, modality: Modality) -> MessageItem:
        """Some more text of the answer's message, which begins with the first of it."""
        if self._message is None:
            self._message = MessageItem("assistant", "", modality, status="in_progress")
            self._add(self._message)
        self._message.text += text
        self._stage.outbox.tell(AnswerText(self.answer, self._message, text))
        return self._message

    def begin_aside(self, text: str) -> MessageItem:
        """All of what is said before the answer itself."""
        self._aside = item = MessageItem("assistant", text, "audio", status="in_progress", aside=True)
        self._add(item)
        self._stage.outbox.tell(AnswerText(self.answer, item, text))
        return item

    def end_aside(self) -> None:
        """It was said to its end."""
        assert self._aside is not None
        self._done(self._aside, "completed")

    def call_tool(self, call: ToolCall) -> None:
        item = FunctionCallItem(call, status="in_progress")
        self._add(item)
        self._stage.outbox.tell(ToolArguments(self.answer, item))
        self._done(item, "completed")

    def finish(self, status: str, reason: str | None) -> None:
        self.answer.status, self.answer.reason = status, reason  # type: ignore[assignment]
        for item in list(self._open):  # also what was cut meanwhile, and is incomplete since
            self._done(item, "completed" if status == "completed" else "incomplete")
        self._stage.outbox.tell(AnswerFinished(self.answer))
        self.finished = True

    def _add(self, item: Item) -> None:
        self.answer.items.append(item)
        self._open.append(item)
        previous = self._stage.history.add(item) if self.answer.options.in_conversation else None
        self._stage.outbox.tell(ItemAdded(item, previous, self.answer))

    def _done(self, item: Item, status: Status) -> None:
        item.status = status
        self._open = [each for each in self._open if each is not item]
        self._stage.outbox.tell(ItemDone(item, self._stage.history.previous_id(item), self.answer))
