"""Callers of the benchmark of scaling out: a few to a process, and as many processes as they need."""

import asyncio
import multiprocessing
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from loadtest.caller import RealtimeCaller
from loadtest.recording import RATE_HZ
from loadtest.scale_out_steps import Turn
from loadtest.sound import FRAME_S, FRAME_SAMPLES
from loadtest.voiced import Pcm
from loadtest.wav import read_speech
from loadtest.wire import CallFailed, connection, encode

A_PROCESS = 8
"""Callers whose sound one core sends in time, with room to spare."""
PAUSES_S = (0.3, 1.2)  # between an answer and the caller's next word, so that callers do not speak in step
ANSWER_TIMEOUT_S = 30.0
ENDED = ("completed", "incomplete")
"""An answer may end where it has as many tokens as the caller asked for."""
DIAL_S = 3.0
"""The callers of a step dial evenly within this time."""
AHEAD_S = 1.0
"""From the order to call until the first one dials: so long a process takes to read its sound."""
ENDED_S = 60.0

T = TypeVar("T")


@dataclass(slots=True)
class Talk:
    """Of some callers. The first turn of each, which falls into the time of dialling, is left out. `cores`: that they
    have used themselves."""

    turns: list[Turn] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    cores: float = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """Callers number `first` to `last` - 1 of `of` dial within `dial_s` from `begins_s` on, by `time.time`, and talk
    for `talk_s` from when the last one has dialled."""

    url: str
    files: Sequence[Path]
    begins_s: float
    talk_s: float
    of: int
    first: int
    last: int
    dial_s: float = field(default_factory=lambda: DIAL_S)

    async def dial(self, index: int) -> None:
        """Wait until it is this caller's turn."""
        await asyncio.sleep(self.begins_s + self.dial_s * index / self.of - time.time())

    @property
    def ends_s(self) -> float:
        return self.begins_s + self.dial_s + self.talk_s


class Crowd:
    """Processes of callers, kept for all steps: to start one costs the machine a second. A context manager."""

    def __init__(self, most: int) -> None:
        """`most`: calls at once that there may be."""
        workers = -(-most // A_PROCESS)
        self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def call(
        self,
        work: Callable[[Round], T],
        url: str,
        files: Sequence[Path],
        number: int,
        talk_s: float,
        *,
        dial_s: float = DIAL_S,
    ) -> tuple[float, list[Future[T]]]:
        """When the last one has dialled, by `time.time`, and what each process will tell."""
        begins_s = time.time() + AHEAD_S
        firsts = range(0, number, A_PROCESS)
        rounds = [
            Round(url, files, begins_s, talk_s, number, first, min(number, first + A_PROCESS), dial_s)
            for first in firsts
        ]
        return begins_s + dial_s, [self._pool.submit(work, each) for each in rounds]


def told(talks: Sequence[Future[Talk]], talk_s: float) -> Talk:
    """All of them together. A process that is lost fails its callers' turns."""
    together = Talk()
    for talk in talks:
        try:
            each = talk.result(AHEAD_S + DIAL_S + talk_s + ENDED_S)
        except Exception as lost:
            together.failed.append(f"a process of callers was lost: {lost}")
            continue
        together.turns += each.turns
        together.failed += each.failed
        together.cores += each.cores
    return together


# --- inside the processes


def converse(work: Round, session: Mapping[str, Any] | None = None) -> Talk:
    """Calls of Antiphon: each caller speaks again as soon as an answer has been heard. `session`: what they ask for,
    see `RealtimeCaller`."""
    return asyncio.run(_all(work, partial(_converse, session=session)))


def stream(work: Round) -> Talk:
    """Connections to a bare server that carry as many messages of the same size, without a word in them."""
    return asyncio.run(_all(work, _stream))


async def _all(work: Round, one: Callable[[Round, int, Talk], Coroutine[Any, Any, None]]) -> Talk:
    talk, began_s, used_s = Talk(), time.monotonic(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for index in range(work.first, work.last):
            group.create_task(one(work, index, talk))
    talk.cores = (time.process_time() - used_s) / (time.monotonic() - began_s)
    return talk


async def _converse(work: Round, index: int, talk: Talk, session: Mapping[str, Any] | None) -> None:
    chance = random.Random(index)
    speech = [read_speech(file) for file in work.files]
    await work.dial(index)
    try:
        limit_s = work.dial_s + work.talk_s + 2 * ANSWER_TIMEOUT_S
        async with RealtimeCaller(work.url, session=session, limit_s=limit_s) as caller:
            counts = False
            while time.time() < work.ends_s:
                said = np.concatenate((_silence(chance.uniform(*PAUSES_S)), chance.choice(speech)))
                turn = await take_turn(caller, said)
                if counts:
                    talk.turns.append(turn)
                counts = True
    except CallFailed as wrong:
        talk.failed.append(str(wrong))


async def take_turn(caller: RealtimeCaller, said: Pcm) -> Turn:
    """Raises CallFailed where there is no answer."""
    gaps = len(caller.gaps)
    await caller.say(said)
    answer = await caller.answer(ANSWER_TIMEOUT_S)
    if answer.status not in ENDED or answer.voice_to_voice_ms is None:
        raise CallFailed(f"the answer is {answer.status}: {answer.reason}")
    return Turn(answer.voice_to_voice_ms, sum(gap.samples for gap in caller.gaps[gaps:]) * 1000 / RATE_HZ)


async def _stream(work: Round, index: int, talk: Talk) -> None:
    message = encode({"type": "input_audio_buffer.append", "audio": "A" * (FRAME_SAMPLES * 2 * 4 // 3)})
    await work.dial(index)
    begun_s = time.time()
    async with connection(work.url) as socket:
        for number in range(round((work.ends_s - begun_s) / FRAME_S)):
            await asyncio.sleep(begun_s + number * FRAME_S - time.time())
            await socket.send(message)
            await socket.recv()


def _silence(seconds: float) -> Pcm:
    return np.zeros(round(seconds * RATE_HZ), np.int16)
