"""The language model behind a Ray Serve handle."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from deployments.backlog import prompt_units
from deployments.base import ModelDeployment
from deployments.contracts import Engine, Llm, LlmItem, Message, Tool
from deployments.guard import answering
from deployments.llm.checks import check_request
from deployments.llm.options import LlmOptions
from deployments.llm.slots import Kept
from deployments.urgency import Urgency


class LlmEngine(Llm, Engine, Protocol):
    """What an engine of this kind has."""


@runtime_checkable
class KeepsPrompts(Protocol):
    """An engine that says whose prompts it has in memory."""

    def kept(self) -> Kept: ...


class LlmDeployment(ModelDeployment[LlmEngine]):
    """`contracts.Llm`: requests are checked here, and no stream outlives `deadline_s`."""

    engines: Mapping[str, str] = {
        "llama_cpp": "deployments.llm.llama_cpp:LlamaCpp",
        "synthetic": "deployments.llm.synthetic:SyntheticLlm",
    }
    options: LlmOptions

    async def record_routing_stats(self) -> dict[str, Any]:
        told = await super().record_routing_stats()
        return told | self.engine.kept().routing_stats() if isinstance(self.engine, KeepsPrompts) else told

    async def generate(
        self,
        messages: Sequence[Message],
        *,
        session_id: str,
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
        urgency: Urgency | None = None,
    ) -> AsyncGenerator[LlmItem, None]:
        """As `contracts.Llm.generate`. Raises `BadRequest` for what can never be answered, `AtCapacity` as
        `DeviceQueue.place` does, else `ModelFailed`.

        When the last message is the assistant's, its text is gone on with.
        """
        check_request(
            messages,
            session_id=session_id,
            max_tokens=max_tokens,
            temperature=temperature,
            tools=tools,
            tool_choice=tool_choice,
            room_tokens=self.options.slot_tokens,
        )
        async with self.place(urgency, lane=session_id, units=prompt_units(messages, max_tokens)):
            stream = self.within_deadline(
                self.engine.generate(
                    messages,
                    session_id=session_id,
                    max_tokens=min(max_tokens, self.options.max_tokens),
                    temperature=temperature,
                    tools=tools,
                    tool_choice=tool_choice,
                )
            )
            try:
                async for item in stream:
                    yield item
            finally:
                await stream.aclose()

    async def sentence_end(
        self,
        messages: Sequence[Message],
        *,
        session_id: str,
        tools: Sequence[Tool] = (),
        urgency: Urgency | None = None,
    ) -> float | None:
        """As `contracts.Llm.sentence_end`. Raises as `generate` does."""
        check_request(
            messages,
            session_id=session_id,
            max_tokens=0,
            temperature=0.0,
            tools=tools,
            tool_choice="auto",
            room_tokens=self.options.slot_tokens,
        )
        place = self.place(urgency, lane=session_id, units=prompt_units(messages))
        async with place, answering(self.options.model, self.options.deadline_s):
            return await self.engine.sentence_end(messages, session_id=session_id, tools=tools)
