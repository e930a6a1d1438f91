"""Whom a conversation is held with, and the line to them: a room or a Realtime socket, Antiphon's or anybody's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

from loadtest.caller import RealtimeCaller
from loadtest.mixer import Mixer
from loadtest.moments import Notes
from loadtest.recording import RATE_HZ
from loadtest.room_caller import RoomCaller
from loadtest.room_stats import counted
from loadtest.room_ticket import Keys, Ticket, fresh, request_ticket
from loadtest.stage import Line
from loadtest.take import Sound
from loadtest.wire import Event

HISTORY_S = 5.0
EXTENSIONS = ("timeline.v1", "state.v1", "transcript.v1")

Transport = Literal["room", "socket"]


@dataclass(frozen=True, slots=True)
class Target:
    """`url`: of an Antiphon server, or with `foreign` of any Realtime server. `ticket`: into one LiveKit room, whose
    agent may be anybody's. `keys` and `agent`: that agent is called into a new room each time. `way`: of the LiveKit
    server behind `url`, where its keys are known, so that the way to it can be measured."""

    transport: Transport
    url: str = ""
    api_key: str | None = None
    ticket: Ticket | None = None
    keys: Keys | None = None
    agent: str = ""
    foreign: bool = False
    way: Keys | None = None

    async def into_a_room(self) -> Ticket:
        """Raises CallFailed."""
        if self.ticket is not None:
            return self.ticket
        if self.keys is not None:
            return self.keys.dispatching(fresh("conversation"), {}, self.agent)
        return await request_ticket(self.url, api_key=self.api_key)


@asynccontextmanager
async def opened(target: Target, mixer: Mixer) -> AsyncIterator[Line]:
    """A call, with `mixer` as its microphone; it ends with the context. Raises CallFailed."""
    async with (_room if target.transport == "room" else _socket)(target, mixer) as line:
        yield line


@asynccontextmanager
async def _socket(target: Target, mixer: Mixer) -> AsyncIterator[Line]:
    extensions = () if target.foreign else EXTENSIONS
    key = target.api_key if target.foreign else None
    note: list[Notes] = []  # it needs the caller's clock, and the caller needs it

    def on_event(event: Event) -> None:
        note[0].event(event)

    caller = RealtimeCaller(target.url, extensions=extensions, on_event=on_event, microphone=mixer, api_key=key)
    note.append(notes := Notes(caller.now))

    async def ask_history() -> None:
        """What the server keeps of each item that was cut."""
        items = {moment.item for moment in notes.moments if moment.kind == "cut"}
        for item in items:
            await caller.send({"type": "conversation.item.retrieve", "item_id": item})
        latest = caller.now() + round(HISTORY_S * RATE_HZ)

        def told() -> bool:
            return items <= {moment.item for moment in notes.moments if moment.kind == "history"}

        await caller.until(lambda: told() or caller.now() >= latest)

    async def sound() -> Sound:
        return Sound(gaps=caller.gaps)

    async with caller:
        yield Line(caller, notes, ask_history=ask_history, sound=sound, stop=caller.stop)


@asynccontextmanager
async def _room(target: Target, mixer: Mixer) -> AsyncIterator[Line]:
    ticket = await target.into_a_room()
    note: list[Notes] = []
    caller = RoomCaller(ticket, microphone=mixer, on_fact=lambda fact: note[0].fact(fact), any_agent=not target.url)
    note.append(notes := Notes(caller.now))

    async def sound() -> Sound:
        heard = await counted(caller)
        late, step = (
            tuple(round(float(ms), 2) for ms in part) for part in (heard.frames.late_ms, heard.frames.step_ms)
        )
        return Sound(late, step, round(heard.concealed_ms, 1))

    async with caller:
        yield Line(caller, notes, sound=sound, stop=caller.stop if target.url else None)
