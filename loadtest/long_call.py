"""Does a call stay what it was when it is long? One call of many short spoken turns.

python -m loadtest.long_call [--turns 200] [--transport socket|room] [--url URL | --config CONFIG] [--out reports/]

Each answer is heard for `--hear-s` and then stopped, so that a turn takes a few seconds. Prints voice-to-voice of the
first twenty and the last twenty turns (of 200 turns, both ask the same), how long the prompts were and how often one
was cut (over the socket, where each response says it; in a room nothing tells), and the memory of the server's
processes where they run on this machine. Where it starts the server itself, the models alone are timed with these
questions before and after the call: a machine that grew slower meanwhile says nothing about the call. Saves JSON and
a picture, and ends with one line of JSON. No time makes it fail.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

from loadtest.arguments import positive
from loadtest.caller import RealtimeCaller
from loadtest.lines import Target
from loadtest.long_call_report import EDGE, Course, write
from loadtest.processes import replica_processes, usage
from loadtest.recording import RATE_HZ
from loadtest.room_caller import RoomCaller
from loadtest.small_talk import QUESTIONS
from loadtest.speech import resolved_settings, said
from loadtest.targets import started_target
from loadtest.voice_to_voice import models_alone
from loadtest.voiced import Pcm
from loadtest.wav import read_speech
from loadtest.wire import CallFailed, Event, NoAnswer

A_TURN_S = 30.0
"""Of recording at most for each turn."""

PAUSE_S = 0.3
LOOK_S = 5.0
"""Between two looks at the server's memory."""


async def held(target: Target, sounds: Sequence[Pcm], number: int, hear_s: float) -> Course:
    """One call. What ends it before its last turn is the last of its failures."""
    course = Course()
    started_s = time.monotonic()
    looking = asyncio.create_task(_look(target.url, course, started_s))
    try:
        async with _caller(target, number, course) as caller:
            for turn, sound in enumerate(islice(cycle(sounds), number), 1):
                await _turn(caller, turn, sound, hear_s, course)
    except CallFailed as ended:
        course.failures.append(f"the call ended: {ended}")
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    course.wall_s = round(time.monotonic() - started_s, 1)
    return course


@asynccontextmanager
async def _caller(target: Target, number: int, course: Course) -> AsyncIterator[RealtimeCaller | RoomCaller]:
    def on_event(event: Event) -> None:
        usage = event["response"].get("usage") if event["type"] == "response.done" else None
        if usage and usage.get("input_tokens"):
            course.prompts.append((len(course.turns) + len(course.failures) + 1, int(usage["input_tokens"])))

    limit_s = number * A_TURN_S
    if target.transport == "socket":
        async with RealtimeCaller(target.url, on_event=on_event, limit_s=limit_s) as caller:
            yield caller
    else:
        async with RoomCaller(await target.into_a_room(), limit_s=limit_s) as in_room:
            yield in_room


async def _turn(caller: RealtimeCaller | RoomCaller, number: int, sound: Pcm, hear_s: float, course: Course) -> None:
    """Raises CallFailed where the call ends; a turn without an answer is a failure."""
    await asyncio.sleep(PAUSE_S)
    try:
        await caller.say(sound)
        await caller.first_sound()
        heard_from = caller.now()
        await caller.until(lambda: caller.now() >= heard_from + hear_s * RATE_HZ)
        await caller.stop()
        answer = await caller.answer()
    except NoAnswer as silent:
        course.failures.append(f"turn {number}: {silent}")
        return
    if answer.voice_to_voice_ms is None:
        course.failures.append(f"turn {number}: no sound came ({answer.status}: {answer.reason})")
        return
    course.turns.append((number, round(answer.voice_to_voice_ms, 1)))
    print(f"{number:>5} {answer.voice_to_voice_ms:7.0f} ms  {answer.heard} | {answer.text}", flush=True)


def _measured(args: argparse.Namespace) -> Course:
    """Raises CallFailed where there is no server or no voice."""
    settings = resolved_settings(args.config)
    files = [said(text, settings) for text in QUESTIONS[: args.turns]]
    sounds = [read_speech(file) for file in files]
    if args.url:
        return asyncio.run(held(Target(args.transport, args.url, args.api_key), sounds, args.turns, args.hear_s))
    before_ms = _alone_ms(settings, files[:EDGE])
    with started_target(args.config, args.transport, {}) as target:
        course = asyncio.run(held(target, sounds, args.turns, args.hear_s))
    try:
        course.models_ms = (before_ms, _alone_ms(settings, files[:EDGE]))
    except CallFailed as unknown:  # what the call was like is known all the same
        course.failures.append(f"the models alone, after the call: {unknown}")
    return course


def _alone_ms(settings: str, files: Sequence[Path]) -> float:
    """The models' own time for these questions, three minutes of work. Raises CallFailed."""
    print(f"the models alone, {len(files)} questions …", flush=True)
    return float(models_alone(settings, files)[-1]["floor_ms"]["p50"])


async def _look(url: str, course: Course, started_s: float) -> None:
    """Until it is cancelled. Nothing is seen of a server elsewhere, and of one whose door opens just now."""
    while True:
        replicas = await asyncio.to_thread(replica_processes, url)
        if seen := {name: round(usage(processes).rss_mb, 1) for name, processes in replicas.items()}:
            course.memory.append((round(time.monotonic() - started_s, 1), seen))
        await asyncio.sleep(LOOK_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.long_call", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--turns", type=positive, metavar="N", default=200, help="(%(default)s)")
    parser.add_argument("--hear-s", type=float, metavar="S", default=1.5, help="of each answer (%(default)s)")
    parser.add_argument("--transport", choices=("socket", "room"), default="socket", help="(%(default)s)")
    parser.add_argument("--url", help="a server that runs already, with the settings of --config")
    parser.add_argument("--api-key", help="for the token endpoint, where it wants one")
    local = Path("configs/local.yaml")
    parser.add_argument("--config", type=Path, default=local, help="else one is started with these (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where no turn was answered, 2 where there is no server or no voice; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        course = _measured(args)
    except CallFailed as wrong:
        print(f"loadtest.long_call: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for failure in course.failures:
        print(f"failed: {failure}", file=sys.stderr)
    print(json.dumps(write(args.out, args.transport, course)), flush=True)
    return 0 if course.turns else 1


if __name__ == "__main__":
    sys.exit(main())
