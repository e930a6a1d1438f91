"""A rush of calls, and the replicas that come and go with it."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from loadtest.caller import RealtimeCaller
from loadtest.recording import RATE_HZ
from loadtest.scale_out_callers import ANSWER_TIMEOUT_S, PAUSES_S, Crowd, Round, take_turn
from loadtest.wav import read_speech
from loadtest.wire import CallFailed

LOOK_S = 0.5
"""Between two looks at the replicas."""
BEFORE_S = 8.0
"""That the first caller has talked alone before the others come."""
GONE_S = 60.0
"""The longest wait for replicas to go, once the calls have."""


@dataclass(frozen=True, slots=True)
class Rush:
    """`calls` come evenly within `rush_s`, and talk for `talk_s` from when the last one has come. There may be `most`
    replicas."""

    calls: int
    rush_s: float
    talk_s: float
    most: int


@dataclass(frozen=True, slots=True)
class Timed:
    """A turn that ended at `at_s`, by `time.time`, and what its caller waited for."""

    at_s: float
    wait_ms: float


@dataclass(slots=True)
class Talk:
    """Of some callers. `here`: when each one came and left."""

    turns: list[Timed] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    here: list[tuple[float, float]] = field(default_factory=list)


@dataclass(slots=True)
class Course:
    """Of one policy. All times by `time.time`: the rush is from `begins_s` to `full_s`, and its callers leave at
    `leave_s`. `seen`: (time, replicas that answer)."""

    policy: str
    most: int
    begins_s: float
    full_s: float
    leave_s: float
    talk: Talk = field(default_factory=Talk)
    seen: list[tuple[float, int]] = field(default_factory=list)

    @property
    def failed(self) -> list[str]:
        return self.talk.failed

    def until(self, replicas: int) -> float | None:
        """Seconds from the beginning of the rush until so many answered."""
        return next((round(at_s - self.begins_s, 1) for at_s, number in self.seen if number >= replicas), None)

    @property
    def before(self) -> int:
        """Replicas that answered when the rush began."""
        return max((number for at_s, number in self.seen if at_s <= self.begins_s), default=1)

    @property
    def until_gone_s(self) -> float | None:
        """From when the calls left until there were as few again; None: longer than anybody looked, or there were never
        more."""
        after = [(at_s, number) for at_s, number in self.seen if at_s >= self.leave_s]
        if all(number <= self.before for _, number in self.seen):
            return None
        return next((round(at_s - self.leave_s, 1) for at_s, number in after if number <= self.before), None)

    def waits_ms(self, first_s: float, last_s: float) -> list[float]:
        return [turn.wait_ms for turn in self.talk.turns if first_s <= turn.at_s < last_s]


def course(policy: str, url: str, key: str, crowd: Crowd, files: Sequence[Path], rush: Rush) -> Course:
    """Raises CallFailed."""
    began_s = time.time()
    _, alone = crowd.call(_talk, url, files, 1, BEFORE_S + rush.rush_s + rush.talk_s + GONE_S, dial_s=0.0)
    watched = Course(policy, rush.most, began_s, began_s, began_s)
    _watch(watched, url, key, began_s + BEFORE_S)
    watched.full_s, talks = crowd.call(_talk, url, files, rush.calls - 1, rush.talk_s, dial_s=rush.rush_s)
    watched.begins_s = watched.full_s - rush.rush_s
    watched.leave_s = watched.full_s + rush.talk_s
    _watch(watched, url, key, watched.leave_s)
    _watch(watched, url, key, watched.leave_s + GONE_S, until=watched.before)
    for future in (*talks, *alone):
        talk = future.result(2 * GONE_S + ANSWER_TIMEOUT_S)
        watched.talk.turns += talk.turns
        watched.talk.failed += talk.failed
        watched.talk.here += talk.here
    return watched


def _watch(watched: Course, url: str, key: str, until_s: float, *, until: int = 0) -> None:
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=10, trust_env=False) as client:
        while time.time() < until_s:
            number = _replicas(client, url)
            if not watched.seen or watched.seen[-1][1] != number:
                print(f"{time.time() - watched.begins_s:6.1f} s: {number} replicas", flush=True)
            watched.seen.append((time.time(), number))
            if number <= until:
                return
            time.sleep(LOOK_S)


def _replicas(client: httpx.Client, url: str) -> int:
    """Of the voice, that answer."""
    try:
        answer = client.get(f"{url}/api/admin/models")
        answer.raise_for_status()
        rows = answer.json()["deployments"]
    except (httpx.HTTPError, ValueError, KeyError) as wrong:
        raise CallFailed(f"the server does not say which replicas it has: {wrong}") from wrong
    return next(len(row["replicas"]) for row in rows if row["name"] == "tts")


# --- inside the processes


def _talk(work: Round) -> Talk:
    """Each caller speaks again as soon as an answer has been heard."""
    return asyncio.run(_all(work))


async def _all(work: Round) -> Talk:
    talk = Talk()
    async with asyncio.TaskGroup() as group:
        for index in range(work.first, work.last):
            group.create_task(_converse(work, index, talk))
    return talk


async def _converse(work: Round, index: int, talk: Talk) -> None:
    chance = random.Random(index)
    speech = [read_speech(file) for file in work.files]
    await work.dial(index)
    came_s = time.time()
    try:
        async with RealtimeCaller(work.url, limit_s=work.ends_s - came_s + 2 * ANSWER_TIMEOUT_S) as caller:
            while time.time() < work.ends_s:
                silence = np.zeros(round(chance.uniform(*PAUSES_S) * RATE_HZ), np.int16)
                turn = await take_turn(caller, np.concatenate((silence, chance.choice(speech))))
                talk.turns.append(Timed(time.time(), turn.voice_to_voice_ms + turn.gaps_ms))
    except CallFailed as wrong:
        talk.failed.append(str(wrong))
    talk.here.append((came_s, time.time()))
