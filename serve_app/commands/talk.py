"""`antiphon talk`: a call with this machine's microphone and speaker, and with typed lines at the same time."""

import argparse
import asyncio
from contextlib import ExitStack

from loadtest.caller import RealtimeCaller
from loadtest.wire import CallOver
from serve_app.commands.call import add_call_arguments, run_call, saved
from serve_app.commands.sound import NoSound, SoundCard
from serve_app.commands.transcript import complain, print_answer, print_event
from serve_app.commands.typed import typed_lines


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`antiphon talk`."""
    parser = subparsers.add_parser(
        "talk",
        help="call the agent with microphone, speaker and keyboard",
        description="Talk to the agent with this machine's microphone and speaker (wear headphones: it would hear "
        "itself), and type lines at the same time. Without sound, typed lines are answered in print, and --save keeps "
        "the voice. Ends with Ctrl-C.",
    )
    add_call_arguments(parser)
    parser.add_argument("--no-sound", action="store_true", help="the keyboard only, even where there is a sound device")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0, 1 when the call failed, 2 without a server, 130 after Ctrl-C."""
    with ExitStack() as stack:
        return run_call(_talk(args, None if args.no_sound else _sound_card(stack)))


def _sound_card(stack: ExitStack) -> SoundCard | None:
    try:
        return stack.enter_context(SoundCard())
    except NoSound as missing:
        complain(f"{missing}; typed lines still work")
        return None


async def _talk(args: argparse.Namespace, sound: SoundCard | None) -> int:
    caller = RealtimeCaller(
        args.url,
        instructions=args.instructions,
        voice=args.voice,
        on_event=print_event,
        microphone=sound,
        speaker=sound,
    )
    with saved(caller.recording, args.save):
        async with caller:
            print(f"in a call with {args.url}: {'speak, or type' if sound else 'type'} (Ctrl-C ends it)", flush=True)
            try:
                await caller.while_connected(_converse(caller, can_hear=sound is not None))
            except CallOver as over:
                print(over)
    return 0


async def _converse(caller: RealtimeCaller, *, can_hear: bool) -> None:
    """Whoever hears may interrupt by typing on; without sound each line is answered before the next is sent."""
    async for line in typed_lines():
        await caller.type(line)
        if not can_hear:
            print_answer(await caller.answer())
    if can_hear:
        await asyncio.Event().wait()
