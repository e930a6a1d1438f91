"""Every kind of model, deployed in this process: who gets its engine first, and what never reaches it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from deployments.asr.deployment import AsrDeployment
from deployments.asr.options import AsrOptions
from deployments.base import ModelDeployment
from deployments.contracts import Finished, Message
from deployments.errors import AtCapacity
from deployments.llm.deployment import LlmDeployment
from deployments.llm.options import LlmOptions
from deployments.options import Timing
from deployments.queue import Place
from deployments.store import StoreOptions
from deployments.tts.deployment import TtsDeployment
from deployments.tts.options import TtsOptions
from deployments.turn.deployment import TurnDeployment
from deployments.turn.options import TurnOptions
from deployments.urgency import Priority, Urgency, urgent
from tests.virtual_time import settled

ONE = Timing(first_item_ms=0, items_per_s=10_000, concurrency=1)
FIRST, LATER, PARTIAL, SPECULATION, HOUSEKEEPING = Priority
SILENCE = np.zeros(1600, np.int16)


async def read(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


@dataclass
class Deployed:
    """A model that does one thing at a time, and how to ask it something as a call of some name."""

    deployment: ModelDeployment[Any]
    ask: Callable[[str], Coroutine[Any, Any, Any]]


def settings(**more: Any) -> dict[str, Any]:
    return {"engine": "synthetic", "model": "synthetic", "timing": ONE, **more}


def asr(**more: Any) -> Deployed:
    deployed = AsrDeployment(AsrOptions(**settings(**more)), None, StoreOptions())
    return Deployed(deployed, lambda _: deployed.transcribe(SILENCE))


def turn(**more: Any) -> Deployed:
    deployed = TurnDeployment(TurnOptions(**settings(**more)), None, StoreOptions())
    return Deployed(deployed, lambda _: deployed.end_of_turn(SILENCE))


def tts(**more: Any) -> Deployed:
    deployed = TtsDeployment(TtsOptions(**settings(**more)), None, StoreOptions())
    return Deployed(deployed, lambda _: read(deployed.speak("hello")))


def llm(**more: Any) -> Deployed:
    deployed = LlmDeployment(LlmOptions(**settings(**more)), None, StoreOptions())

    async def generate(call: str) -> list[Any]:
        asked = [Message("user", "hello")]
        return await read(deployed.generate(asked, session_id=call, max_tokens=9, temperature=0))

    return Deployed(deployed, generate)


def sentence_end(**more: Any) -> Deployed:
    deployed = LlmDeployment(LlmOptions(**settings(**more)), None, StoreOptions())
    return Deployed(deployed, lambda call: deployed.sentence_end([Message("user", "hello")], session_id=call))


KINDS = pytest.mark.parametrize("deploy", [asr, turn, tts, llm, sentence_end])


@dataclass
class Asking:
    """Requests at one deployment, in the order in which they were answered."""

    to: Deployed
    answered: list[str]

    def busy(self) -> AbstractAsyncContextManager[Place]:
        """Somebody else has the device."""
        return self.to.deployment.place(Urgency(FIRST))

    async def ask(self, name: str, priority: Priority, wait_s: float | None = None) -> asyncio.Task[None]:
        """It waits, or runs, when this returns."""

        async def run() -> None:
            with urgent(priority, wait_s, name):
                await self.to.ask(name)
            self.answered.append(name)

        task = asyncio.create_task(run())
        await settled()
        return task


@KINDS
async def test_the_more_urgent_is_answered_first(deploy: Callable[[], Deployed]) -> None:
    asking = Asking(deploy(), [])
    async with asking.busy():
        tasks = [await asking.ask(priority.name, priority) for priority in reversed(Priority)]
    await asyncio.gather(*tasks)
    assert asking.answered == [priority.name for priority in Priority]


@KINDS
async def test_what_is_out_of_time_or_not_wanted_never_reaches_the_engine(deploy: Callable[[], Deployed]) -> None:
    asking = Asking(deploy(), [])
    queue = asking.to.deployment.queue
    async with asking.busy():
        late = await asking.ask("late", FIRST, wait_s=0.001)
        gone = await asking.ask("gone", FIRST)
        gone.cancel()
        with pytest.raises(AtCapacity, match="of no use any more"):
            await late
        await asyncio.wait([gone])
    assert (queue.count("started"), queue.count("expired"), queue.count("dropped")) == (1, 1, 1)
    assert (queue.running, queue.waiting) == (0, 0)


@KINDS
async def test_who_waits_for_what_was_asked_on_speculation_is_served_at_once(deploy: Callable[[], Deployed]) -> None:
    asking = Asking(deploy(), [])
    async with asking.busy():
        tasks = [await asking.ask("another", SPECULATION), await asking.ask("mine", SPECULATION)]
        assert await asking.to.deployment.promote("mine") == 1
    await asyncio.gather(*tasks)
    assert asking.answered == ["mine", "another"]


@KINDS
async def test_too_many_are_refused_the_least_urgent_first(deploy: Callable[..., Deployed]) -> None:
    asking = Asking(deploy(max_waiting=1), [])
    async with asking.busy():
        guess = await asking.ask("guess", SPECULATION)
        phrase = await asking.ask("phrase", LATER)
        with pytest.raises(AtCapacity, match="too many requests waiting"):
            await guess
    await phrase


async def test_the_engine_has_not_seen_a_prompt_that_came_too_late() -> None:
    asking = Asking(llm(), [])
    async with asking.busy():
        with pytest.raises(AtCapacity):
            await (await asking.ask("late", FIRST, wait_s=0.001))
    *_, finished = await asking.to.ask("late")
    assert isinstance(finished, Finished)
    assert finished.usage.cached_tokens == 0
    *_, again = await asking.to.ask("late")
    assert again.usage.cached_tokens > 0


async def test_a_stream_that_is_closed_gives_the_engine_to_the_next() -> None:
    deployed = TtsDeployment(
        TtsOptions(**settings(timing=Timing(items_per_s=0.01, concurrency=1))), None, StoreOptions()
    )
    stream = deployed.speak("a long sentence that is never spoken to its end")
    await anext(stream)
    waiting = asyncio.ensure_future(anext(deployed.speak("hello")))
    await asyncio.sleep(0.01)
    assert (deployed.queue.running, deployed.queue.waiting) == (1, 1)
    await stream.aclose()
    await waiting
    assert deployed.queue.count("started") == 2


async def test_one_session_never_runs_twice_at_a_time_and_keeps_no_other_waiting() -> None:
    asking = Asking(llm(timing=Timing(first_item_ms=0, items_per_s=10_000, concurrency=2)), [])
    queue = asking.to.deployment.queue
    async with asking.to.deployment.place(Urgency(), lane="a"):
        again = await asking.ask("a", FIRST)
        assert (queue.running, queue.waiting) == (1, 1)
        await (await asking.ask("b", HOUSEKEEPING))
        assert asking.answered == ["b"]
    await again


async def test_an_urgency_that_came_over_the_wire_counts() -> None:
    deployed = TurnDeployment(TurnOptions(**settings()), None, StoreOptions())
    await deployed.end_of_turn(SILENCE, urgency=Urgency(PARTIAL))
    assert deployed.queue.fates[PARTIAL, "started"] == 1
    with pytest.raises(AtCapacity):
        await deployed.end_of_turn(SILENCE, urgency=Urgency(FIRST, 0.0))
