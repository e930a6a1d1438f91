"""What an answer is made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deployments.contracts import Message, Tool
from serve_app.conversation.items import Modality


@dataclass(frozen=True, slots=True)
class Brief:
    """What is to be written, and how it shall sound. `on_sentence_end` is told how likely the caller's last
    sentence is over; None: nobody asks."""

    messages: Sequence[Message]
    session_id: str
    output: Modality
    voice: str | None
    speed: float
    max_tokens: int
    tools: tuple[Tool, ...]
    tool_choice: str
    on_sentence_end: Callable[[float | None], None] | None = None
