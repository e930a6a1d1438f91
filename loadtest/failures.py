"""Do callers notice when processes of the server die or freeze? Each kind of failure is tried under running calls.

python -m loadtest.failures [--kinds "llm killed,asr"] [--calls 6] [--turns 50] [--seed 1] [--config CONFIG] [--out DIR]

`antiphon up CONFIG` is started with two replicas of each model. For each kind of failure `--calls` callers hold
`--turns` turns together, while processes of that kind are killed (SIGKILL), or stopped for four seconds (SIGSTOP), at
random moments; `--seed` decides which. A synthetic model is made as slow as a real one, so that its requests are under
way for long enough to be hit. For nodes and the GCS a cluster is started instead, all on this machine: a head with the
calls, and two nodes with a replica of each model (`failures_cluster`). Where the ingress is killed there are two, the
calls are in LiveKit rooms, and the table says, too, how long a call was without an agent.

Prints for each kind the calls that were lost, the turns that failed, and the longest silence that callers heard in a
turn, with and without a strike; saves JSON and a picture, and ends with one line of JSON. No time makes it fail.
"""

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.arguments import positive
from loadtest.caller import RealtimeCaller
from loadtest.failures_calls import Course, Trial
from loadtest.failures_kinds import Kind, chosen
from loadtest.failures_report import write
from loadtest.failures_servers import REPLICAS, grouped, server_settings, serving
from loadtest.speech import resolved_settings, said
from loadtest.voiced import Pcm
from loadtest.wav import read_speech
from loadtest.wire import CallFailed

TEXT = "Count to 12"
WARM_TURNS = 4
"""What is usual must be known before it can be missed."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.failures", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kinds", default="", metavar="NAME,…", help="these, or those that begin so (all)")
    parser.add_argument("--list", action="store_true", help="name the kinds of failure, and start nothing")
    parser.add_argument("--calls", type=positive, default=6, metavar="N", help="at once (%(default)s)")
    parser.add_argument("--turns", type=positive, default=50, metavar="N", help="for each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides when whom is struck (%(default)s)")
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"), help="what is started (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def _all_tried(
    kinds: Sequence[Kind], resolved: str, sound: Pcm, args: argparse.Namespace
) -> tuple[list[Course], list[Kind]]:
    """What was found, and the kinds that have no server here: a machine may be without rooms."""
    courses: list[Course] = []
    untried: list[Kind] = []
    for group in grouped(kinds):
        try:
            courses += _tried_at_one(group, resolved, sound, args)
        except CallFailed as wrong:
            print(f"loadtest.failures: {', '.join(kind.name for kind in group)}: {wrong}", file=sys.stderr)
            untried += group
    return courses, untried


def _tried_at_one(kinds: Sequence[Kind], resolved: str, sound: Pcm, args: argparse.Namespace) -> list[Course]:
    with serving(kinds[0].server, args.config, server_settings(resolved)) as url:
        return asyncio.run(tried(url, kinds, sound, args))


async def tried(url: str, kinds: Sequence[Kind], sound: Pcm, args: argparse.Namespace) -> list[Course]:
    """One kind after the other. Raises CallFailed where not even an undisturbed call can be made."""
    async with RealtimeCaller(url) as caller:
        for _ in range(WARM_TURNS):
            await caller.say(sound)
            await caller.answer()
    courses = []
    for kind in kinds:
        course = await Trial(url, kind, sound, random.Random(f"{args.seed} {kind.name}")).run(args.calls, args.turns)
        print(_line(course), flush=True)
        courses.append(course)
    return courses


def _line(course: Course) -> str:
    counts = f"{len(course.strikes)} strikes, {len(course.lost)} calls lost, {len(course.failed)} turns failed"
    return f"{course.kind:<20} {len(course.turns)} turns, {counts}"


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where a call was lost or no turn was answered, 2 where there was no server for a kind; a time never
    decides."""
    args = _parser().parse_args(argv)
    try:
        kinds = chosen(args.kinds)
        if args.list:
            print(*(kind.name for kind in kinds), sep="\n")
            return 0
        resolved = resolved_settings(args.config)
        sound = read_speech(said(TEXT, resolved))
        courses, untried = _all_tried(kinds, resolved, sound, args)
    except (CallFailed, ValueError) as wrong:
        print(f"loadtest.failures: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if not courses:
        return 2
    settings: Mapping[str, int] = {"calls": args.calls, "replicas": REPLICAS, "seed": args.seed}
    for course in courses:
        for problem in [*course.lost, *course.failed]:
            print(f"{course.kind}: {problem}", file=sys.stderr)
    print(json.dumps(write(args.out, courses, settings)), flush=True)
    answered = any(course.silences_ms(disturbed=each) for course in courses for each in (False, True))
    if not answered or any(course.lost for course in courses):
        return 1
    return 2 if untried else 0


if __name__ == "__main__":
    sys.exit(main())
