"""A caller's line into a LiveKit room: joining it, finding the agent there, hearing it, and noticing when it is gone.

The agent is a participant of kind AGENT that names itself in `antiphon.agent`; nobody else is listened to, unless any
agent will do. Of two the newer counts: a new one comes where one has died, and LiveKit notices the death late.
"""

import asyncio
import atexit
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from livekit import rtc

from loadtest.room_facts import AGENT, AGENT_STATE, ERROR, Fact, StateChanged, read_packet, read_refusal
from loadtest.room_sound import Listener, Sender
from loadtest.room_streams import TextStreams
from loadtest.room_ticket import Ticket
from loadtest.waiting import outlast
from loadtest.wire import CallFailed, NobodyThere

CONNECT_TIMEOUT_S = 20.0
LEAVE_TIMEOUT_S = 5.0
LINGER_S = 0.1
"""The library's threads finish what they do for a room after it is left; a program that ends before can crash."""

# One of them may be waiting to call Python when the library is shut down, which is done at the exit, too, and before
# what was registered earlier. If the interpreter ends under it, the process is aborted.
atexit.register(time.sleep, LINGER_S)

logging.getLogger("livekit").addHandler(logging.NullHandler())  # what it has to say comes as errors, too


@dataclass(slots=True)
class Joining:
    """Moments of joining, in ms after `connect` was called. `ready_ms`: both hear each other."""

    connected_ms: float | None = None
    agent_seen_ms: float | None = None
    track_subscribed_ms: float | None = None
    ready_ms: float | None = None


class RoomLine:
    """One caller's connection. `receive` is given what the agent says beside its voice, `listener` its voice.

    `lost` ends with an error when the call cannot go on; wait for nothing without it (`outlast`). An agent that leaves
    may be followed by another one within `replacement_s`.
    """

    def __init__(
        self,
        ticket: Ticket,
        sender: Sender,
        listener: Listener,
        receive: Callable[[Fact], None],
        replacement_s: float,
        any_agent: bool = False,
    ) -> None:
        self.joining = Joining()
        self.room = rtc.Room()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.agent: rtc.RemoteParticipant | None = None
        self.track: rtc.RemoteAudioTrack | None = None
        self._ticket, self._sender, self._listener = ticket, sender, listener
        self._receive, self._replacement_s = receive, replacement_s
        self._any_agent, self._told_state = any_agent, ""
        self._streams = TextStreams(self.room, receive)
        self._tasks: set[asyncio.Task[None]] = set()
        self._hearing: dict[str, asyncio.Task[None]] = {}  # by the track's sid
        self._changed = asyncio.Event()

    async def join(self, attributes: Mapping[str, str], agent_timeout_s: float, *, heard: bool = True) -> None:
        """Until both hear each other; where nobody will listen (not `heard`), until the agent is heard. Raises
        `CallFailed` and its subclasses."""
        for name, handler in self._handlers().items():
            self.room.on(name, handler)
        self._called_s = time.monotonic()
        await self._connect()
        self.joining.connected_ms = self._since_ms()
        for participant in self.room.remote_participants.values():
            self._consider(participant)
        try:
            async with asyncio.timeout(agent_timeout_s):
                await outlast(self._meet_agent(attributes, heard), {self.lost})
        except TimeoutError as alone:
            raise NobodyThere(f"{self._who_is_missing()} within {agent_timeout_s:g} s") from alone
        self.joining.ready_ms = self._since_ms()

    async def leave(self) -> None:
        """Hang up. There is no way to be lost instead: end the process for that (`room_process`)."""
        try:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._streams.aclose()
            if self.room.isconnected():
                await asyncio.wait_for(self.room.disconnect(), LEAVE_TIMEOUT_S)
        except TimeoutError:
            pass  # nobody answers any more
        finally:
            await self._sender.aclose()
            self._fail(CallFailed("the call is over"))
            self.lost.exception()  # seen: whoever waited for it has been told
            await asyncio.sleep(LINGER_S)

    def present_agent(self) -> rtc.RemoteParticipant:
        if self.agent is None:
            raise CallFailed("there is no agent in the room now")
        return self.agent

    # --- joining

    async def _connect(self) -> None:
        # An attempt to connect is never cancelled: the library's native side would end the whole process.
        connecting = asyncio.create_task(self.room.connect(self._ticket.url, self._ticket.token))
        await asyncio.wait({connecting}, timeout=CONNECT_TIMEOUT_S)
        if not connecting.done():
            connecting.add_done_callback(lambda late: late.cancelled() or late.exception())
            raise NobodyThere(f"{self._ticket.url} did not let the call in within {CONNECT_TIMEOUT_S:g} s")
        try:
            connecting.result()
        except rtc.ConnectError as refused:
            raise why_not_connected(self._ticket.url, refused.message) from refused

    async def _meet_agent(self, attributes: Mapping[str, str], heard: bool) -> None:
        if attributes:
            await self.room.local_participant.set_attributes(dict(attributes))
        publication = await self._sender.publish(self.room)
        self._listener.started_s = time.monotonic()
        self._start(self._sender.run(self._listener.started_s))
        if heard:
            await publication.wait_for_subscription()
        await self._until(lambda: self.track is not None and self._agent_state() != "initializing")

    def _agent_state(self) -> str | None:
        return self.agent.attributes.get(AGENT_STATE) if self.agent else None

    def _who_is_missing(self) -> str:
        if self.agent is None:
            return f"no agent came into the room at {self._ticket.url}"
        return f"the agent came into the room at {self._ticket.url} and " + (
            "was not ready" if self.track else "published no sound"
        )

    # --- what happens in the room

    def _handlers(self) -> Mapping[Any, Callable[..., None]]:
        return {
            "participant_connected": self._consider,
            "participant_attributes_changed": lambda changed, participant: self._consider(participant),
            "participant_disconnected": self._gone,
            "track_published": _hear_agents_only,
            "track_subscribed": lambda track, publication, participant: self._consider(participant),
            "track_unsubscribed": lambda track, publication, participant: self._forget(publication.sid),
            "data_received": self._packet,
            "disconnected": lambda reason: self._fail(why_disconnected(reason)),
        }

    def _consider(self, participant: rtc.Participant) -> None:
        """Is it the agent, and can it be heard?"""
        if not isinstance(participant, rtc.RemoteParticipant) or not is_agent(participant):
            return
        if error := participant.attributes.get(ERROR):
            self._fail(read_refusal(error))
        if AGENT not in participant.attributes:
            if not self._any_agent:
                return  # an agent of somebody else, or not yet known as ours
            self._note_state(participant.attributes.get(AGENT_STATE, ""))
        self.agent = participant
        self.joining.agent_seen_ms = self.joining.agent_seen_ms or self._since_ms()
        for publication in participant.track_publications.values():
            if isinstance(publication.track, rtc.RemoteAudioTrack) and publication.sid not in self._hearing:
                self._listen_to(publication.sid, publication.track)
        self._changed.set()

    def _note_state(self, state: str) -> None:
        """Agents of others tell their state in an attribute only."""
        if state and state != self._told_state:
            self._told_state = state
            self._receive(StateChanged(state))

    def _listen_to(self, sid: str, track: rtc.RemoteAudioTrack) -> None:
        self.joining.track_subscribed_ms = self.joining.track_subscribed_ms or self._since_ms()
        for other in list(self._hearing):
            self._forget(other)
        self.track = track
        self._hearing[sid] = self._start(self._listener.run(track))

    def _forget(self, sid: str) -> None:
        if task := self._hearing.pop(sid, None):
            task.cancel()

    def _gone(self, participant: rtc.RemoteParticipant) -> None:
        if self.agent is not None and participant.identity == self.agent.identity:
            self.agent = None
            for other in self.room.remote_participants.values():  # two may have come, of whom one goes again
                self._consider(other)
            self._start(self._await_replacement())

    async def _await_replacement(self) -> None:
        try:
            async with asyncio.timeout(self._replacement_s):
                await self._until(lambda: self.agent is not None)
        except TimeoutError as nobody:
            raise CallFailed("the agent left the call") from nobody

    def _packet(self, packet: rtc.DataPacket) -> None:
        try:
            fact = read_packet(packet.topic, packet.data)
        except CallFailed as garbage:
            self._fail(garbage)
            return
        if fact is not None:
            self._receive(fact)

    # --- tasks

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of this line; its error is the end of the call."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self.lost.done():
            self.lost.set_exception(error)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            self._changed.clear()
            await self._changed.wait()

    def _since_ms(self) -> float:
        return (time.monotonic() - self._called_s) * 1000


def is_agent(participant: rtc.Participant) -> bool:
    return participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


def _hear_agents_only(publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
    if not is_agent(participant):
        publication.set_subscribed(False)


def why_not_connected(url: str, message: str) -> CallFailed:
    """What the library's sentence means. It can hold the token, which is nobody's business."""
    if "401" in message or "403" in message:
        return CallFailed(f"{url} does not accept the ticket: it is signed with another key, too old, or for no room")
    if "signal failure" in message and "Connection refused" not in message and "lookup" not in message:
        return NobodyThere(f"{url} lets nobody in: {message[:200]}")
    return NobodyThere(f"no LiveKit server answers at {url}")


def why_disconnected(reason: "rtc.DisconnectReason.ValueType") -> CallFailed:
    name = rtc.DisconnectReason.Name(reason)
    return CallFailed(f"the LiveKit server ended the call: {name.lower().replace('_', ' ')}")
