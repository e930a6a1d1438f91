"""Everything on its way to the caller, in one order: events and sound."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from deployments.contracts import Pcm
from deployments.errors import CallerGone
from serve_app.conversation.echo import PlayedMemory
from serve_app.conversation.items import MessageItem
from serve_app.conversation.messages import Event, Pauser
from serve_app.conversation.timeline import now_s
from serve_app.flow import Flow
from serve_app.transports.base import Transport

EVENT_LIMIT = 2_000
"""A caller's side that is this many events behind does not read: the call ends."""
AUDIO_LIMIT = 8
"""Chunks of sound waiting to be sent; whoever makes more waits, so that there is little to take back on a stop."""


@dataclass(frozen=True, slots=True)
class Sound:
    """`on_sent` is called when the first of it was given to the transport."""

    pcm: Pcm
    item: MessageItem
    on_sent: Callable[[], None] | None = None


class Outbox:
    """A queue in front of the transport. Events never wait for room, sound does; one task, `run`, sends both."""

    def __init__(self, transport: Transport) -> None:
        self.played = PlayedMemory(transport.rate_hz)
        """What an echo may be of."""
        self.gaps_ms: list[float] | None = None
        """Silences inside the answer that is played, because its next sound was not made in time. None: the caller's
        side has the clock, and knows."""
        self._transport = transport
        self._waiting: deque[Event | Sound] = deque()
        self._sounds = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self.flow = Flow()
        self._pausers: set[Pauser] = set()
        self._room.set()
        self._idle = asyncio.Event()
        self._idle.set()

    def tell(self, event: Event) -> None:
        """Send this event after what waits already. Raises CallerGone when the caller's side has stopped reading."""
        if len(self._waiting) >= EVENT_LIMIT:
            raise CallerGone("the caller's side reads too slowly")
        self._push(event)

    async def play(self, pcm: Pcm, item: MessageItem, on_sent: Callable[[], None] | None = None) -> None:
        """Send this sound, at the transport's rate; waits while paused, and while enough is on its way."""
        while self.flow.paused or not self._room.is_set():
            await self.flow.flows()
            await self._room.wait()
        self._sounds += 1
        if self._sounds >= AUDIO_LIMIT:
            self._room.clear()
        self._push(Sound(pcm, item, on_sent))

    def pause(self, by: Pauser = "voice") -> None:
        """No more sound is sent until whoever paused resumes."""
        self._pausers.add(by)
        self.flow.pause()

    def resume(self, by: Pauser = "voice") -> None:
        self._pausers.discard(by)
        if not self._pausers:
            self.flow.resume()

    @property
    def paused(self) -> bool:
        """Does anybody keep the agent silent?"""
        return bool(self._pausers)

    def rewind(self) -> None:
        """An answer that has just begun is to begin anew. Here the caller's side has its sound, and the clock."""

    def mend(self) -> None:
        """What the voice of the caller's side has broken is to go on with the broken word. Here likewise."""

    def end_pauses(self) -> None:
        """What was paused is over: only who is not there still keeps the agent silent."""
        for by in self._pausers - {"absence"}:
            self.resume(by)

    def drop_sound(self) -> int:
        """Forget the sound that was not sent yet: how many samples of it there were."""
        dropped = [entry for entry in self._waiting if isinstance(entry, Sound)]
        self._waiting = deque(entry for entry in self._waiting if not isinstance(entry, Sound))
        self._sounds -= len(dropped)
        self._room.set()
        return sum(len(sound.pcm) for sound in dropped)

    async def sent(self) -> None:
        """Wait until all that waits now has been handed to the transport."""
        await self._idle.wait()

    def _push(self, entry: Event | Sound) -> None:
        self._waiting.append(entry)
        self._idle.clear()
        self._changed.set()

    async def run(self) -> None:
        """Send for as long as the call lasts."""
        while True:
            while not self._waiting:  # what woke us may have been dropped since
                self._idle.set()
                self._changed.clear()
                await self._changed.wait()
            await self._send(self._waiting.popleft())

    async def _send(self, entry: Event | Sound) -> None:
        if not isinstance(entry, Sound):
            await self._transport.send_event(entry)
            return
        self._sounds -= 1
        self._room.set()
        self.played.push(entry.pcm, now_s())
        await self._transport.play(entry.pcm, entry.item)
        if entry.on_sent is not None:
            entry.on_sent()
