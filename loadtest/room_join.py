"""How long until a caller who enters a room is heard and answered.

Two ways in: a token with a dispatch in it, signed with the LiveKit server's keys alone (the room is created by the
caller, and only then the agent is called), and a ticket of the token endpoint (the agent is called meanwhile). Times
are from connecting; `in_all_ms` is from wanting a ticket until both sides hear each other.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from loadtest.room_bench import Findings, Target
from loadtest.room_caller import RoomCaller
from loadtest.room_process import SPACING_S
from loadtest.room_ticket import Ticket, fresh
from loadtest.speech import sentences
from loadtest.voiced import Pcm
from loadtest.wav import read_speech
from loadtest.wire import CallFailed


async def measure(target: Target, number: int) -> Findings:
    """`number` calls by each way, one after the other."""
    found = Findings("join", f"Joining a room, {number} calls by each way", one_scale=True)
    sentence = read_speech(sentences(target.speech, target.config)[0])
    await _first(target, sentence, found)
    ways: dict[str, Callable[[], Awaitable[Ticket]]] = {"endpoint": target.ticket}
    if keys := target.keys:
        ways["dispatch"] = lambda: _signed(lambda: keys.dispatching(fresh("join"), {}))
    else:
        print("without LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET no token is signed here")
    for _ in range(number):
        for way, ticket in ways.items():
            await _call(way, ticket, sentence, found)
    return found


async def _signed(sign: Callable[[], Ticket]) -> Ticket:
    return sign()


async def _first(target: Target, sentence: Pcm, found: Findings) -> None:
    """The first call of a process loads the library, and the first of a server warms it. It does not count."""
    async with RoomCaller(await target.ticket()) as caller:
        found.facts["first_subscribed_ms"] = round(caller.joining.track_subscribed_ms or 0)
        await caller.say(sentence)
        await caller.answer()


async def _call(way: str, ticket: Callable[[], Awaitable[Ticket]], sentence: Pcm, found: Findings) -> None:
    started_s = time.monotonic()
    try:
        door = await ticket()
        token_ms = (time.monotonic() - started_s) * 1000
        async with RoomCaller(door) as caller:
            joining = caller.joining
            await caller.say(sentence)
            answer = await caller.answer()
    except CallFailed as failed:
        found.fail(f"{way}: {failed}")
        return
    finally:
        await asyncio.sleep(SPACING_S)
    if answer.voice_to_voice_ms is None:
        found.fail(f"{way}: no sound came ({answer.status}: {answer.reason})")
    if way == "endpoint":
        found.add("endpoint: token_ms", token_ms)
    found.add(f"{way}: connected_ms", joining.connected_ms)
    found.add(f"{way}: agent_seen_ms", joining.agent_seen_ms)
    found.add(f"{way}: subscribed_ms", joining.track_subscribed_ms)
    found.add(f"{way}: ready_ms", joining.ready_ms)
    if joining.ready_ms is not None:
        found.add(f"{way}: in_all_ms", token_ms + joining.ready_ms)
    print(
        f"{way:<10} agent {joining.agent_seen_ms:6.0f} ms, its track {joining.track_subscribed_ms:6.0f} ms", flush=True
    )
