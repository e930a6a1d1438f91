"""`antiphon call`: play recordings to the agent as a caller, in real time, and hear what it answers.

Over the Realtime socket, or with `--room` in a LiveKit room.
"""

import argparse
import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from loadtest.caller import ANSWER_TIMEOUT_S, RealtimeCaller
from loadtest.exchange import Answer
from loadtest.recording import Recording
from loadtest.voiced import Pcm
from loadtest.wav import BadRecording, read_speech, write_wav
from loadtest.wire import DEFAULT_URL, Busy, CallFailed, NobodyThere
from serve_app.commands.transcript import complain, print_answer, print_event

Say = Pcm | str
"""One turn: speech (int16[n] at 24 kHz), or typed text."""

NEW_ROOM = "-"


class Caller(Protocol):
    """What a call needs of a caller, wherever it calls."""

    async def say(self, pcm: Pcm) -> None: ...
    async def type(self, text: str) -> None: ...
    async def answer(self, timeout_s: float = ...) -> Answer: ...


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`antiphon call [--room [NAME]] FILE… [--text TEXT]…`."""
    parser = subparsers.add_parser(
        "call",
        help="call the agent with recordings",
        description="Play recordings to the agent in real time, one turn each, then send the typed turns. Prints what "
        "both sides said and where each turn's time went. Exit code 1 when a turn failed, 2 when there was no call.",
    )
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a recording: WAV, FLAC, …")
    parser.add_argument("--text", action="append", default=[], help="a typed turn, after the recordings; repeatable")
    add_call_arguments(parser)
    _add_room_arguments(parser)
    parser.add_argument(
        "--timeout",
        type=float,
        default=ANSWER_TIMEOUT_S,
        metavar="S",
        help="longest wait for an answer's end (%(default)g s)",
    )
    parser.set_defaults(run=run)


def add_call_arguments(parser: argparse.ArgumentParser) -> None:
    """What every way of calling has in common."""
    parser.add_argument("--url", default=DEFAULT_URL, help="the server (%(default)s)")
    parser.add_argument("--save", type=Path, metavar="WAV", help="keep both sides: left the caller, right the agent")
    parser.add_argument("--voice", help="the voice that answers")
    parser.add_argument("--instructions", help="what the agent is told before the conversation")


def _add_room_arguments(parser: argparse.ArgumentParser) -> None:
    rooms = parser.add_argument_group("LiveKit rooms")
    help_text = "call in a LiveKit room, with a ticket of the server; - or no name: a room that nobody is in"
    rooms.add_argument("--room", nargs="?", const=NEW_ROOM, metavar="NAME", help=help_text)
    rooms.add_argument("--api-key", metavar="KEY", help="what the server wants for a ticket (livekit.token_api_key)")
    rooms.add_argument("--livekit-url", metavar="URL", help="with --token: a LiveKit server, ws://… or wss://…")
    rooms.add_argument("--token", help="a ticket of your own for a room there; nobody else is asked")


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0, 1 for a failed turn, 2 for bad input or no server."""
    if args.room is not None and Path(args.room).is_file():  # `--room FILE`: the name of the room was left out
        args.files, args.room = [Path(args.room), *args.files], NEW_ROOM
    if wrong := _wrong_about_rooms(args):
        complain(wrong)
        return 2
    try:
        turns: list[Say] = [*map(read_speech, args.files), *args.text]
    except BadRecording as bad:
        complain(str(bad))
        return 2
    if not turns:
        hint = (
            f"; {args.room} is taken for a room, for there is no such file" if args.room not in (None, NEW_ROOM) else ""
        )
        complain(f"there is nothing to say: name a recording, or use --text{hint}")
        return 2
    if args.token or args.room is not None:
        from serve_app.commands.call_room import call_in_room  # LiveKit's library takes its time to load

        return run_call(call_in_room(args, turns))
    return run_call(_call(args, turns))


def _wrong_about_rooms(args: argparse.Namespace) -> str | None:
    """Options that go together, or do not."""
    if bool(args.livekit_url) != bool(args.token):
        return "--livekit-url and --token are one ticket: give both, or none"
    if args.token and (args.api_key or args.room not in (None, NEW_ROOM)):
        return "the ticket of --token is for one room already, and nobody is asked for another: leave out " + (
            "--api-key" if args.api_key else "the name of --room"
        )
    if args.api_key and args.room is None:
        return "--api-key is for a ticket into a room: --room asks for one"
    return None


def run_call(call: Coroutine[Any, Any, int]) -> int:
    """Run a call to its end, and turn what went wrong into a sentence and an exit code."""
    try:
        return asyncio.run(call)
    except (NobodyThere, Busy) as nobody:
        complain(str(nobody))
        return 2
    except CallFailed as failed:
        complain(str(failed))
        return 1
    except OSError as unwritable:  # of --save: the network's own are `CallFailed`
        complain(str(unwritable))
        return 2
    except KeyboardInterrupt:
        return 130


async def _call(args: argparse.Namespace, turns: Sequence[Say]) -> int:
    caller = RealtimeCaller(args.url, instructions=args.instructions, voice=args.voice, on_event=print_event)
    with saved(caller.recording, args.save):
        async with caller:
            return await speak(caller, turns, args.timeout)


async def speak(caller: Caller, turns: Sequence[Say], timeout_s: float) -> int:
    """All the turns; 1 when one of them failed, else 0."""
    answers = [await _turn(caller, say, timeout_s) for say in turns]
    return int(any(answer.status not in ("completed", "incomplete") for answer in answers))


async def _turn(caller: Caller, say: Say, timeout_s: float) -> Answer:
    await (caller.type(say) if isinstance(say, str) else caller.say(say))
    answer = await caller.answer(timeout_s)
    print_answer(answer)
    return answer


@contextmanager
def saved(recording: Recording, path: Path | None) -> Iterator[None]:
    """Keep the recording however the call ends, unless nothing was recorded."""
    try:
        yield
    finally:
        stereo = recording.stereo()
        if path is not None and len(stereo):
            write_wav(path, stereo)
            print(f"saved    {path}: {len(stereo) / 24_000:.1f} s, left the caller, right the agent", flush=True)
