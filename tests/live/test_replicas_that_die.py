"""Replicas of models die and freeze under calls, and nobody is told an error."""

import asyncio
import contextlib
import json
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from deployments import tones
from loadtest.caller import RealtimeCaller
from loadtest.exchange import Answer
from loadtest.processes import replica_processes
from serve_app.admin.client import key_file
from tests.system import System, running, wait_until_ready

pytestmark = pytest.mark.timeout(300)

RATE_HZ = 24_000
CALLERS = 4
"""So many at once keep both replicas of a kind busy: whichever dies, somebody waits for it."""

ANSWER_S = 4.0
PATIENCE_S = 30.0
"""Who waits longer hangs."""
SLOW_MODELS = {
    "ANTIPHON_ASR__TIMING__FIRST_ITEM_MS": "600",
    "ANTIPHON_TURN__TIMING__FIRST_ITEM_MS": "600",
    "ANTIPHON_LLM__TIMING__ITEMS_PER_S": "8",
    "ANTIPHON_TTS__TIMING__ITEMS_PER_S": "2",
}
"""Requests are under way for long enough to be hit."""

NOTHING_IS_MADE_UP_FOR = {
    "ANTIPHON_CALL__LISTENING__PARTIALS": "false",
    "ANTIPHON_CALL__DEADLINES__END_OF_TURN_S": "3",
    "ANTIPHON_CALL__TURN_TAKING__ASK_LLM": "false",
    "ANTIPHON_CALL__TURN_TAKING__SOUND_WEIGHT": "10",
    "ANTIPHON_CALL__TURN_TAKING__CERTAINTY_OFFSET": "0",
    "ANTIPHON_CALL__TURN_TAKING__ASK_EVERY_MS": "60000",
    "ANTIPHON_CALL__TURN_TAKING__MEDIUM_SILENCE_MS": "60000",
    "ANTIPHON_CALL__TURN_TAKING__HIGH_SILENCE_MS": "1500",
}
"""One transcript a turn, and one judgement, without which a turn is over late: a request that is lost is missed."""
SOON = {"audio": {"input": {"turn_detection": {"type": "semantic_vad", "eagerness": "high"}}}}
"""The session of a caller whose turn is over soon without a judgement, too."""

COUNT = "count to 8"
ONE_TO_EIGHT = "One two three four five six seven eight."
SORRY = "Sorry, not now."

KINDS = ("asr", "llm", "tts", "turn")
ALONE = [{"kind": kind, "name": f"lone-{kind}", "engine": "synthetic", "model": f"lone-{kind}"} for kind in KINDS]
"""One more model of each kind, with one replica: a call can have one that is gone while all else is there."""


@pytest.fixture(scope="module")
def pairs() -> Iterator[System]:
    """The demo with two replicas of each model, and the lone ones."""
    two = {f"ANTIPHON_{kind.upper()}__REPLICAS": "2" for kind in KINDS}
    calls = {
        "ANTIPHON_CALL__FILLER": "",
        "ANTIPHON_CALL__SORRY": SORRY,
        "ANTIPHON_CALL__DEADLINES__ANSWER_S": str(ANSWER_S),
        "ANTIPHON_MORE_DEPLOYMENTS": json.dumps(ALONE),
    }
    with tempfile.TemporaryDirectory() as folder:
        settings = {**two, **calls, **SLOW_MODELS, **NOTHING_IS_MADE_UP_FOR}
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
        return await call.answer(PATIENCE_S)

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


async def until_working(system: System, kind: str, least: int) -> None:
    """Both replicas of a kind are there, and each works on so many requests at least."""
    key = key_file(urlsplit(system.url).port or 0).read_text()
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}) as client, asyncio.timeout(PATIENCE_S):
        while True:
            answer = await client.get(f"{system.url}/api/admin/models", timeout=PATIENCE_S)
            [found] = [each for each in answer.json()["deployments"] if each["name"] == kind]
            if [replica["queue"]["running"] >= least for replica in found["replicas"]] == [True, True]:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("kind", ["llm", "tts", "asr", "turn"])
async def test_a_replica_that_is_killed_in_mid_turn_is_not_missed(pairs: System, kind: str) -> None:
    async with callers(pairs) as calls:
        struck = replicas(pairs, kind)[0]

        async def kill() -> None:
            if kind in ("llm", "tts"):
                await calls[0].first_sound(PATIENCE_S)
            else:
                await until_working(pairs, kind, 1)
            struck.kill()

        assert_as_if_nothing_were(await answers(calls, COUNT, kill), ONE_TO_EIGHT)


async def test_a_replica_that_freezes_in_mid_answer_is_not_waited_for(pairs: System) -> None:
    async with callers(pairs) as calls:
        await until_working(pairs, "tts", 0)
        struck = replicas(pairs, "tts")[0]

        async def freeze() -> None:
            await calls[0].first_sound(PATIENCE_S)
            struck.suspend()

        try:
            assert_as_if_nothing_were(await answers(calls, COUNT, freeze), ONE_TO_EIGHT)
        finally:
            struck.resume()


@asynccontextmanager
async def callers_of_lone_models(system: System) -> AsyncIterator[dict[str, RealtimeCaller]]:
    """By the kind of the one that each has."""
    async with AsyncExitStack() as stack:
        yield {
            kind: await stack.enter_async_context(
                RealtimeCaller(f"{system.url}?models=lone-{kind}", session=SOON if kind == "turn" else None)
            )
            for kind in KINDS
        }


@asynccontextmanager
async def struck_by(number: signal.Signals, system: System) -> AsyncIterator[None]:
    """All lone models."""
    processes = [process for kind in KINDS for process in replicas(system, f"lone-{kind}")]
    try:
        for process in processes:
            process.send_signal(number)
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
async def test_where_all_replicas_of_a_kind_are_gone_the_agent_says_so_in_time_and_answers_again_later(
    pairs: System, number: signal.Signals
) -> None:
    async with callers_of_lone_models(pairs) as calls:
        async with struck_by(number, pairs):
            answered = dict(zip(calls, await answers(list(calls.values()), "hello"), strict=True))
        await asyncio.to_thread(wait_until_ready, pairs)
        assert_as_if_nothing_were([answered.pop("turn")], "You said: hello.")  # the silence has judged
        for kind, answer in answered.items():
            if number == signal.SIGKILL and answer.status == "completed":
                continue  # another one is there already
            assert (answer.status, letters(tones.decode(answer.audio, RATE_HZ))) == ("failed", letters(SORRY)), kind
            assert answer.reason == f"the answer did not begin within {ANSWER_S:g} s"
            assert answer.timeline is not None
            assert answer.timeline["outcome"] == "failed"
        assert_as_if_nothing_were(await answers(list(calls.values()), "hello"), "You said: hello.")
