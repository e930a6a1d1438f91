"""An LLM's answer that broke off and is gone on with by another request, as if it had been one."""

from collections.abc import Sequence
from dataclasses import replace

from deployments.contracts import Finished, Message, Usage


def going_on(messages: Sequence[Message], text: str) -> Sequence[Message]:
    """The prompt for what comes after `text`, which is the answer's so far."""
    if not text:
        return messages
    if messages and messages[-1].role == "assistant":
        return [*messages[:-1], replace(messages[-1], text=messages[-1].text + text)]
    return [*messages, Message("assistant", text)]


def as_one(finished: Finished, told: int) -> Finished:
    """The end of an answer of which `told` tokens came by earlier requests; the last one counts them as prompt."""
    usage = finished.usage
    prompt = max(0, usage.prompt_tokens - told)
    whole = Usage(prompt, min(usage.cached_tokens, prompt), usage.generated_tokens + told)
    return replace(finished, usage=whole)
