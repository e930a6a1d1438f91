"""`antiphon call --room`: the same call in a LiveKit room."""

import argparse
from collections.abc import Sequence

from loadtest.room_caller import RoomCaller
from loadtest.room_ticket import Ticket, request_ticket
from serve_app.commands.call import NEW_ROOM, Say, saved, speak
from serve_app.commands.transcript import print_event, print_joining


async def call_in_room(args: argparse.Namespace, turns: Sequence[Say]) -> int:
    """Join, say the turns, leave. Returns the exit code; raises `CallFailed` and its subclasses."""
    wishes = {"antiphon.voice": args.voice, "antiphon.instructions": args.instructions}
    attributes = {name: value for name, value in wishes.items() if value is not None}
    if args.token:
        caller = RoomCaller(Ticket(args.livekit_url, args.token), attributes=attributes, on_event=print_event)
    else:
        room = None if args.room == NEW_ROOM else args.room
        ticket = await request_ticket(args.url, api_key=args.api_key, room=room, attributes=attributes)
        caller = RoomCaller(ticket, on_event=print_event)
    with saved(caller.recording, args.save):
        async with caller:
            print_joining(caller.line.room.name, caller.joining)
            return await speak(caller, turns, args.timeout)
