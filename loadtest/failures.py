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
import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from loadtest.arguments import positive
from loadtest.caller import RealtimeCaller
from loadtest.failures_calls import Course, Trial
from loadtest.failures_kinds import MODELS, Kind, Server, chosen
from loadtest.failures_report import write
from loadtest.room_ticket import Keys, fresh
from loadtest.server import free_port, started, started_cluster, started_with_rooms
from loadtest.speech import resolved_settings, said
from loadtest.voiced import Pcm
from loadtest.wav import read_speech
from loadtest.wire import CallFailed

TEXT = "Count to 12"
REPLICAS = 2
WARM_TURNS = 4
"""What is usual must be known before it can be missed."""

TWO_HOSTS = {"ANTIPHON_INGRESS__REPLICAS": "2", "ANTIPHON_CALL__ALLOW_LOOPBACK": "true"}
"""Of calls in rooms."""

REAL_PACE = {
    "asr": {"FIRST_ITEM_MS": "120"},
    "llm": {"FIRST_ITEM_MS": "60", "ITEMS_PER_S": "12"},
    "tts": {"FIRST_ITEM_MS": "60", "ITEMS_PER_S": "3"},
    "turn": {"FIRST_ITEM_MS": "40"},
}
"""Of a synthetic model: about that of the small real ones on a busy GPU."""


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


def server_settings(resolved: str) -> dict[str, str]:
    """The server's, as variables, beside those of its config, which are given as JSON."""
    known = json.loads(resolved)
    settings = {f"ANTIPHON_{model.upper()}__REPLICAS": str(REPLICAS) for model in MODELS}
    for model, pace in REAL_PACE.items():
        if known[model]["engine"] == "synthetic":
            settings |= {f"ANTIPHON_{model.upper()}__TIMING__{name}": value for name, value in pace.items()}
    return settings


@contextmanager
def serving(server: Server, config: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Its address. Raises `NobodyThere`."""
    match server:
        case "host":
            running = started(config, settings)
        case "cluster":
            running = started_cluster(config, settings)
        case "rooms":
            keys = Keys(f"ws://127.0.0.1:{free_port()}", fresh("key"), secrets.token_hex(32))
            running = started_with_rooms(config, keys, {**settings, **TWO_HOSTS})
    with running as url:
        yield url


def grouped(kinds: Sequence[Kind]) -> list[list[Kind]]:
    """Those that need the same server together: it is started once."""
    servers = dict.fromkeys(kind.server for kind in kinds)
    return [[kind for kind in kinds if kind.server == server] for server in servers]


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
    """Exit code 1 where a call was lost or no turn was answered, 2 where there is no server; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        kinds = chosen(args.kinds)
        if args.list:
            print(*(kind.name for kind in kinds), sep="\n")
            return 0
        resolved = resolved_settings(args.config)
        sound = read_speech(said(TEXT, resolved))
        courses = [course for group in grouped(kinds) for course in _tried_at_one(group, resolved, sound, args)]
    except (CallFailed, ValueError) as wrong:
        print(f"loadtest.failures: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    settings: Mapping[str, int] = {"calls": args.calls, "replicas": REPLICAS, "seed": args.seed}
    for course in courses:
        for problem in [*course.lost, *course.failed]:
            print(f"{course.kind}: {problem}", file=sys.stderr)
    print(json.dumps(write(args.out, courses, settings)), flush=True)
    answered = any(course.silences_ms(disturbed=each) for course in courses for each in (False, True))
    return 0 if answered and not any(course.lost for course in courses) else 1


if __name__ == "__main__":
    sys.exit(main())
