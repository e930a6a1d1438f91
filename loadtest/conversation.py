"""A conversation with a running voice agent, played from a script of cases, kept, and measured from its recordings.

python -m loadtest.conversation [--transport room|socket|both] [--size small|full] [--only NAME,…] [--out reports/]

    --url URL                     an Antiphon server that runs; else `antiphon up CONFIG` is started for the run
    --livekit-url URL --token T   the room of this token, with any LiveKit agent in it; each case joins it anew
    --livekit-url URL --agent A   any LiveKit agent of this name, called into a new room for each case (needs
                                  LIVEKIT_API_KEY and LIVEKIT_API_SECRET)
    --realtime-url URL            any server of the OpenAI Realtime protocol

Each case is a call of its own (`loadtest/conversation.yaml`; `--cases` for others), played once with `--size small`
(some minutes), and as often as it says with `--size full` (half an hour). With `--transport both` each is then played
once over the Realtime socket of the same server, for a table of its own. After the calls the models of --config are
asked alone, on this machine: for the floor, for plain Whisper's words, for the voice's own pauses; `--without-models`
leaves these rows empty. Prints a table of what was measured, saves JSON, a picture and one page of HTML to look at and
to listen to, keeps all recordings, and ends with one line of JSON, a key a row. No time makes it fail.
"""

import argparse
import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from loadtest.alone import Alone
from loadtest.arguments import positive
from loadtest.conversation_report import of_both, write
from loadtest.lines import Target, Transport, opened
from loadtest.repertoire import Repertoire
from loadtest.room_process import THREAD_SWITCH_S
from loadtest.room_ticket import Keys, Ticket
from loadtest.scenes import Scenes
from loadtest.script import OWN_CASES, Script, read_script
from loadtest.speech import resolved_settings
from loadtest.stage import Stage
from loadtest.take import Scene, Take
from loadtest.targets import started_target
from loadtest.verdict import judge
from loadtest.way import way_ms
from loadtest.wire import CallFailed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.conversation", description=(__doc__ or "").split("\n")[0])
    whom = parser.add_argument_group("whom to call")
    whom.add_argument("--url", help="an Antiphon server that runs already; else one is started")
    ways = "the way to it; both: first in rooms, then each case once over the socket (%(default)s)"
    whom.add_argument("--transport", choices=("room", "socket", "both"), default="room", help=ways)
    whom.add_argument("--livekit-url", metavar="URL", help="a LiveKit server, with --token or --agent")
    whom.add_argument("--token", help="for a room with an agent in it, anybody's")
    whom.add_argument("--agent", metavar="NAME", help="call this agent, anybody's, by LIVEKIT_API_KEY and …_SECRET")
    whom.add_argument("--realtime-url", metavar="URL", help="any server of the OpenAI Realtime protocol")
    whom.add_argument("--api-key", help="where the server wants one")
    what = parser.add_argument_group("what to play")
    what.add_argument("--cases", type=Path, metavar="FILE", default=OWN_CASES, help="(the ones that come with this)")
    what.add_argument("--only", metavar="NAME,…", default="", help="these cases")
    what.add_argument("--list", action="store_true", help="name the cases, and call nobody")
    what.add_argument("--size", choices=("small", "full"), default="small", help="how often (%(default)s)")
    what.add_argument("--repeat", type=positive, metavar="N", default=1, help="all of it, N times (%(default)s)")
    what.add_argument("--seed", type=int, default=1, help="decides what is drawn (%(default)s)")
    what.add_argument("--speech", type=Path, metavar="DIR", help="recordings to say, in place of the usual ones")
    config = "whose voice says what is not recorded, and what is started without --url (%(default)s)"
    what.add_argument("--config", type=Path, default=Path("configs/local.yaml"), help=config)
    command = "prints the words of the WAV file whose name it is given, in place of plain Whisper"
    parser.add_argument("--transcribe", metavar="CMD", help=command)
    parser.add_argument("--without-models", action="store_true", help="ask no model of --config alone")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


@contextmanager
def _target(args: argparse.Namespace) -> Iterator[Target]:
    """Raises CallFailed."""
    if args.realtime_url:
        yield Target("socket", args.realtime_url, args.api_key, foreign=True)
    elif args.livekit_url:
        yield _somebodys_room(args)
    elif args.url:
        yield Target(_first(args), args.url, args.api_key, way=Keys.from_environment())
    else:
        with started_target(args.config, _first(args), {}) as target:
            yield target


def _first(args: argparse.Namespace) -> Transport:
    return "socket" if args.transport == "socket" else "room"


def _somebodys_room(args: argparse.Namespace) -> Target:
    if args.token:
        return Target("room", ticket=Ticket(args.livekit_url, args.token))
    key, secret = (os.environ.get(f"LIVEKIT_API_{name}", "") for name in ("KEY", "SECRET"))
    if not (args.agent and key and secret):
        raise CallFailed("--livekit-url wants --token, or --agent with LIVEKIT_API_KEY and LIVEKIT_API_SECRET set")
    return Target("room", keys=Keys(args.livekit_url, key, secret), agent=args.agent)


async def played(target: Target, scenes: Sequence[Scene]) -> list[Take]:
    """Each in a call of its own, one after another, or at once where the case says so. A call that cannot be made is a
    take that failed."""
    takes: list[Take] = []
    started_s = time.monotonic()
    for together in _at_once(scenes):
        name = together[0].case.name
        print(f"[{len(takes) + 1}/{len(scenes)}, {time.monotonic() - started_s:.0f} s] {name}", flush=True)
        takes += await asyncio.gather(*(_play(target, scene) for scene in together))
    return takes


def _at_once(scenes: Sequence[Scene]) -> Iterator[list[Scene]]:
    """Those of one case's several callers follow each other, the first one's first."""
    firsts = [place for place, scene in enumerate(scenes) if scene.beside == 0]
    for first, following in pairwise([*firsts, len(scenes)]):
        yield list(scenes[first:following])


async def _measured(target: Target, scenes: Sequence[Scene], *, way: bool) -> tuple[list[Take], float | None]:
    """All takes, and with `way` the ms there and back, where that can be known."""
    sys.setswitchinterval(THREAD_SWITCH_S)
    gc.freeze()  # a full collection of what is there for good takes 50 ms
    there_and_back_ms = None
    if way:
        try:
            there_and_back_ms = await way_ms(target)
        except CallFailed as failed:
            print(f"the way to the server and back is not known: {failed}", flush=True)
    return await played(target, scenes), there_and_back_ms


async def _play(target: Target, scene: Scene) -> Take:
    mixer = scene.mixer()
    try:
        async with opened(target, mixer) as line:
            take = await Stage(scene, line, mixer).play()
    except CallFailed as failed:
        take = Take(scene.case, scene.repeat, failed=str(failed), beside=scene.beside)
    for sentence in judge(take).sentences:
        print(f"{take.name:<20} {sentence}", flush=True)
    return take


def _list(script: Script) -> None:
    for case in script.cases:
        print(f"{case.name:<20} {case.about}")


@dataclass(frozen=True, slots=True)
class _Part:
    """What was played one way. `way_ms`: there and back, where it can be known."""

    transport: Transport
    takes: list[Take]
    way_ms: float | None


def _played_part(target: Target, scenes: Sequence[Scene], *, models: bool) -> _Part:
    return _Part(target.transport, *asyncio.run(_measured(target, scenes, way=models)))


def _written(args: argparse.Namespace, parts: Sequence[_Part], settings: str | None) -> dict[str, Any]:
    """What the last line says. `settings`: of the models that are asked alone."""
    results = [
        write(args.out, part.transport, part.takes, args.transcribe, Alone(settings, part.way_ms) if settings else None)
        for part in parts
    ]
    return results[0] if len(results) == 1 else of_both(*results)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where no call could be played, 2 where there is no server, speech or script; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        script = read_script(args.cases)
        cases = script.only([name for name in args.only.split(",") if name])
        if args.list:
            _list(script)
            return 0
        if args.transport == "both" and (args.realtime_url or args.livekit_url):
            raise CallFailed("--transport both wants an Antiphon server, which has rooms and a socket")
        repertoire = Repertoire(args.speech, args.config)
        scenes = list(Scenes(cases, args.repeat, args.seed, args.size).made(repertoire))
        once = list(Scenes(cases, 1, args.seed).made(repertoire)) if args.transport == "both" else []
        with _target(args) as target:
            models = bool(target.url) and not target.foreign and not args.without_models
            played_parts = [_played_part(target, scenes, models=models)]
            if once:
                played_parts.append(_played_part(Target("socket", target.url), once, models=models))
        said = _written(args, played_parts, resolved_settings(args.config) if models else None)
        print(json.dumps(said), flush=True)
    except CallFailed as wrong:
        print(f"loadtest.conversation: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if all(any(take.said for take in part.takes) for part in played_parts) else 1


if __name__ == "__main__":
    sys.exit(main())
