"""Replicas of models die and freeze under calls, and nobody is told an error."""

import asyncio
import contextlib
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil
import pytest

from deployments import tones
from loadtest.caller import RealtimeCaller
from loadtest.exchange import Answer
from loadtest.processes import replica_processes
from tests.system import System, running

pytestmark = pytest.mark.timeout(300)

RATE_HZ = 24_000
CALLERS = 4
"""So many at once keep both replicas of a kind busy: whichever dies, somebody waits for it."""

ANSWER_S = 4.0
SLOW_MODELS = {
    "ANTIPHON_ASR__TIMING__FIRST_ITEM_MS": "200",
    "ANTIPHON_TURN__TIMING__FIRST_ITEM_MS": "200",
    "ANTIPHON_LLM__TIMING__ITEMS_PER_S": "8",
    "ANTIPHON_TTS__TIMING__ITEMS_PER_S": "2",
}
"""Requests are under way for long enough to be hit."""

COUNT = "count to 8"
ONE_TO_EIGHT = "One two three four five six seven eight."
SORRY = "Sorry, I could not answer that. Please say it again."


@pytest.fixture(scope="module")
def pairs() -> Iterator[System]:
    """The demo with two replicas of each model."""
    two = {f"ANTIPHON_{kind}__REPLICAS": "2" for kind in ("ASR", "LLM", "TTS", "TURN")}
    calls = {"ANTIPHON_CALL__FILLER": "", "ANTIPHON_CALL__DEADLINES__ANSWER_S": str(ANSWER_S)}
    with tempfile.TemporaryDirectory() as folder:
        settings = {**two, **calls, **SLOW_MODELS}
        with running("configs/demo.yaml", Path(folder), None, options=["--no-livekit"], **settings) as system:
            yield system


def replicas(system: System, kind: str) -> list[psutil.Process]:
    return replica_processes(system.url)[f"antiphon:{kind}"]


@asynccontextmanager
async def callers(system: System) -> AsyncIterator[list[RealtimeCaller]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(RealtimeCaller(system.url)) for _ in range(CALLERS)]


async def answers(
    calls: list[RealtimeCaller], text: str, meanwhile: Callable[[], Awaitable[None]] | None = None
) -> list[Answer]:
    """Everybody says this at once, and hears an answer to its end."""

    async def turn(call: RealtimeCaller) -> Answer:
        await call.say(tones.encode(text, RATE_HZ))
        return await call.answer(30)

    async with asyncio.TaskGroup() as group:
        turns = [group.create_task(turn(call)) for call in calls]
        if meanwhile is not None:
            await meanwhile()
    return [turn.result() for turn in turns]


def letters(text: str) -> str:
    return re.sub(r"\W", "", text).lower()


def assert_as_if_nothing_were(answers: list[Answer], text: str) -> None:
    """Every word was said, once, in its order."""
    for answer in answers:
        assert (answer.status, answer.text) == ("completed", text)
        assert letters(tones.decode(answer.audio, RATE_HZ)) == letters(text)


async def strike(system: System, kind: str, number: signal.Signals, calls: list[RealtimeCaller]) -> psutil.Process:
    """One replica, while all of its kind are at work."""
    if kind in ("llm", "tts"):
        await calls[0].first_sound(30)
    else:
        await asyncio.sleep(len(tones.encode(COUNT, RATE_HZ)) / RATE_HZ + 0.15)  # what was said is being transcribed
    struck = replicas(system, kind)[0]
    struck.send_signal(number)
    return struck


@pytest.mark.parametrize("kind", ["llm", "tts", "asr", "turn"])
async def test_a_replica_that_is_killed_in_mid_turn_is_not_missed(pairs: System, kind: str) -> None:
    async with callers(pairs) as calls:

        async def kill() -> None:
            await strike(pairs, kind, signal.SIGKILL, calls)

        assert_as_if_nothing_were(await answers(calls, COUNT, kill), ONE_TO_EIGHT)


async def test_a_replica_that_freezes_in_mid_answer_is_not_waited_for(pairs: System) -> None:
    struck: list[psutil.Process] = []
    async with callers(pairs) as calls:

        async def freeze() -> None:
            struck.append(await strike(pairs, "tts", signal.SIGSTOP, calls))

        try:
            assert_as_if_nothing_were(await answers(calls, COUNT, freeze), ONE_TO_EIGHT)
        finally:
            for process in struck:
                process.send_signal(signal.SIGCONT)


async def test_where_no_model_can_answer_the_agent_says_so_and_answers_again_later(pairs: System) -> None:
    async with callers(pairs) as calls:
        frozen = replicas(pairs, "llm")
        try:
            for process in frozen:
                process.send_signal(signal.SIGSTOP)
            for answer in await answers(calls, "hello"):
                assert answer.status == "failed"
                assert letters(tones.decode(answer.audio, RATE_HZ)) == letters(SORRY)
                assert answer.timeline is not None
                assert answer.timeline["outcome"] == "failed"
        finally:
            for process in frozen:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGCONT)
        assert_as_if_nothing_were(await answers(calls, "hello"), "You said: hello.")
