"""Benchmarks of LiveKit rooms, from the caller's side.

python -m loadtest.rooms {join,page,round_trip,calls,churn,stop} [-n N] [--url URL | --config CONFIG] [--out reports/]

Prints a table with p50, p90, p95, max and n, saves JSON and a picture, and ends with one line of JSON. Without --url a
server is started for the run, with a LiveKit server whose keys are known. With --url, where those keys are needed, they
come from LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET. No time makes it fail.
"""

import argparse
import asyncio
import importlib
import json
import secrets
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loadtest.arguments import positive
from loadtest.room_bench import Findings, Target, write
from loadtest.room_ticket import Keys, fresh
from loadtest.server import free_port, started_with_rooms
from loadtest.speech import resolved_settings
from loadtest.wire import CallFailed

BENCHMARKS = {
    "join": ("from connecting to the agent's track, by both ways into a room", 20),
    "page": ("from the button of the page to connected, in Chromium; a page's first call apart", 20),
    "round_trip": ("the agent's echo beside that of a bare client; with --url it needs call.allow_loopback there", 48),
    "calls": ("many calls at once: turns, smoothness, and what a call costs", 8),
    "churn": ("calls in a row: what stays behind in the process that hosts them", 30),
    "stop": ("from the order to stop to the agent's last sound", 20),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.rooms", description=(__doc__ or "").split("\n")[0])
    commands = parser.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    for name, (what, number) in BENCHMARKS.items():
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("-n", type=positive, metavar="N", default=number, help="how many (%(default)s)")
        command.add_argument("--url", help="a server that runs already, with the settings of --config")
        demo = Path("configs/demo.yaml")
        command.add_argument("--config", type=Path, default=demo, help="else one is started with these (%(default)s)")
        command.add_argument("--api-key", help="for the token endpoint, where it wants one")
        command.add_argument("--speech", type=Path, metavar="DIR", help="recordings to say, in place of the usual ones")
        command.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    calls = commands.choices["calls"]
    calls.add_argument("--turns", type=positive, metavar="N", default=4, help="in each call (%(default)s)")
    light = "callers that decode nothing and cost next to nothing; built with Go, once"
    calls.add_argument("--light", action="store_true", help=light)
    calls.add_argument("--bare", action="store_true", help="call a bare LiveKit client, not the server")
    return parser


@contextmanager
def _target(args: argparse.Namespace) -> Iterator[Target]:
    """The server that runs already, or one that is started; with --bare the LiveKit server alone is enough."""
    given = Keys.from_environment()
    if args.url or (getattr(args, "bare", False) and given):
        yield Target(args.url or "", args.config, args.speech, args.api_key, given)
        return
    own = None
    if json.loads(resolved_settings(args.config))["livekit"]["url"] is None:
        own = Keys(f"ws://127.0.0.1:{free_port()}", fresh("key"), secrets.token_hex(32))
    with started_with_rooms(args.config, own, {"ANTIPHON_CALL__ALLOW_LOOPBACK": "true"}) as url:
        yield Target(url, args.config, args.speech, args.api_key, own or given)


def _work(args: argparse.Namespace, target: Target) -> Coroutine[Any, Any, Findings]:
    module = importlib.import_module(f"loadtest.room_{args.benchmark}")
    extra = (args.turns, args.bare, args.light) if args.benchmark == "calls" else ()
    work: Coroutine[Any, Any, Findings] = module.measure(target, args.n, *extra)
    return work


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where nothing could be measured, 2 where there is no server or no speech; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        with _target(args) as target:
            found = asyncio.run(_work(args, target))
    except CallFailed as wrong:
        print(f"loadtest.rooms: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(write(args.out, found)), flush=True)
    return 0 if any(found.values.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
