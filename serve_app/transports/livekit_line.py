"""An agent's connection to one room: who is there, what they send, and the agent's own track."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from livekit import rtc

from serve_app.transports.livekit_audio import Cleaner, Metronome, Microphone
from serve_app.transports.livekit_caller import Presence, Seat
from serve_app.transports.livekit_colleagues import Colleagues
from serve_app.transports.livekit_ffi import AudioEncoding, forget, hear_only_own
from serve_app.transports.livekit_joining import AlreadyAttended, Joining, RoomLost, Ticket
from serve_app.transports.livekit_orders import Orders
from serve_app.transports.livekit_speaker import Speaker
from serve_app.transports.livekit_words import Teller

log = logging.getLogger("antiphon.rooms")

CHAT = "lk.chat"
CHANGES_LIMIT = 256
"""Changes of the caller's tracks that wait for each other. Each takes milliseconds, and nobody makes so many."""


class Hears(Protocol):
    """What the line tells its call. Called on the event loop; nothing here may wait."""

    def presence(self, presence: Presence) -> None: ...
    def typed(self, text: str) -> None: ...
    def ordered(self, method: str) -> None: ...
    def keyed(self, key: str) -> None: ...
    def attributes(self, changed: dict[str, str]) -> None: ...
    def ended(self) -> None: ...


class RoomLine:
    """Used by one call. `open` joins, `close` leaves; every task in between is awaited by `close`."""

    def __init__(self, ticket: Ticket, call: str, agent_name: str, metronome: Metronome, clean_audio: str) -> None:
        self.seat = Seat(ticket.caller)
        self.room = rtc.Room()
        self.speaker = Speaker()
        self.microphone: Microphone | None = None
        self.teller: Teller | None = None
        self.lost = False
        """The connection broke for good, though nobody wanted it: whoever is in the room needs another agent."""
        self.deserted = False
        """The agent is not in the room any more, and the room goes on: another one has its caller, or will have."""
        self._ticket = ticket
        self._metronome = metronome
        self._clean_audio = clean_audio
        self._colleagues = Colleagues(self.room, agent_name, ticket.instead_of)
        self._orders = Orders(call, self.seat, lambda method: self._tell().ordered(method))
        self._publication: rtc.LocalTrackPublication | None = None
        self._hears: Hears | None = None
        self._changes: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(CHANGES_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()
        self._joining: Joining | None = None
        self._closed = False

    # --- joining and leaving

    async def open(self, hears: Hears, microphone: Microphone) -> None:
        """Join and publish. Raises RoomLost."""
        self._hears, self.microphone = hears, microphone
        self._listen_to(self.room)
        self._joining = Joining(self.room, self._ticket)
        await self._joining.done()
        hear_only_own(self.room)
        if other := self._colleagues.other():
            raise AlreadyAttended(f"{other} is there already")
        if not self.room.remote_participants and self._ticket.room_sid not in (None, await self.room.sid):
            raise RoomLost("it was closed before it was joined")
        self._spawn(self._follow())
        self._publication = publication = await self.room.local_participant.publish_track(
            self.speaker.track, _PUBLISHED
        )
        self.teller = Teller(self.room.local_participant, publication.sid)
        self._spawn(self.teller.keep_attributes())
        self._orders.register(self.room.local_participant)
        self._metronome.add(self, self._strike)
        self._look_around()

    async def close(self) -> None:
        """Leave; again does nothing, but for one that was cancelled before its end."""
        if self._closed:
            return
        self._metronome.remove(self)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._joining is not None:
            self._joining.end()
        if self.microphone is not None:
            await self.microphone.unlisten()
        try:
            self._orders.unregister()
            await self.room.disconnect()
        finally:  # a room that is forgotten before its source is closed ends the process, by a fault of the native side
            await self.speaker.close()
            forget(self.room, self.speaker.track)
            self._closed = True

    def _strike(self) -> None:
        try:
            self.speaker.strike()
            if self.microphone is not None:
                self.microphone.strike()
        except Exception:  # a call that is silent for ever helps nobody
            self._tell().ended()
            raise

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def listened_to(self) -> None:
        """Wait until somebody's side has taken the agent's track."""
        assert self._publication is not None
        await self._publication.wait_for_subscription()

    # --- what happens in the room

    def _listen_to(self, room: rtc.Room) -> None:
        room.on("participant_connected", self._connected)
        room.on("reconnected", self._came_back)
        room.on("local_track_republished", lambda publication, _: self._published_again(publication))
        room.on("participant_disconnected", self._left)
        room.on("track_published", lambda publication, participant: self._want(publication, participant))
        room.on("track_subscribed", self._subscribed)
        room.on("track_unsubscribed", self._unsubscribed)
        room.on("participant_attributes_changed", self._attributes_changed)
        room.on("sip_dtmf_received", self._keyed)
        room.on("disconnected", self._disconnected)
        room.register_text_stream_handler(CHAT, self._chat)

    def _look_around(self) -> None:
        for participant in list(self.room.remote_participants.values()):
            self._joined(participant)

    def _connected(self, participant: rtc.RemoteParticipant) -> None:
        if self._colleagues.is_one(participant):
            self._spawn(self._make_way())
        else:
            self._joined(participant)

    def _came_back(self) -> None:
        self._colleagues.came_back()
        if self.teller is not None:
            self.teller.set_again()

    def _published_again(self, publication: rtc.LocalTrackPublication) -> None:
        """After a connection anew the agent's track has another name, which goes with its words."""
        if self.teller is not None:
            self.teller.agent_track = publication.sid

    async def _make_way(self) -> None:
        if await self._colleagues.makes_way():
            log.info("the room's own agent is back")
            self.deserted = True
            self._tell().ended()

    def _joined(self, participant: rtc.RemoteParticipant) -> None:
        if self.teller is None or not self.seat.joined(participant):  # until it can speak, `open` will look around
            return
        self.teller.caller = participant.identity
        if self.microphone is not None and self._clean_audio in (("phones", "all") if self.seat.by_phone else ("all",)):
            self.microphone.cleaner = self.microphone.cleaner or Cleaner()
            self.speaker.on_frame = self.microphone.cleaner.played
        for publication in participant.track_publications.values():
            self._want(publication, participant)
        self._tell().presence(self.seat.presence)

    def _left(self, participant: rtc.RemoteParticipant) -> None:
        if self.seat.left(participant):
            self._tell().presence(self.seat.presence)

    def _want(self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant) -> None:
        """Of all the tracks in the room only the caller's sound is fetched."""
        if self.seat.is_caller(participant.identity) and publication.kind == rtc.TrackKind.KIND_AUDIO:
            publication.set_subscribed(True)

    def _subscribed(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        microphone = self.microphone
        if (
            self.seat.is_caller(participant.identity)
            and microphone is not None
            and isinstance(track, rtc.RemoteAudioTrack)
        ):
            if self.teller is not None:
                self.teller.caller_track = publication.sid
            self._changes.put_nowait(lambda: microphone.listen(track))

    def _unsubscribed(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if self.seat.is_caller(participant.identity) and self.microphone is not None:
            self._changes.put_nowait(self.microphone.unlisten)

    async def _follow(self) -> None:
        """Tracks come and go in this order, however long each change takes."""
        while True:
            await (await self._changes.get())()

    def _attributes_changed(self, changed: dict[str, str], participant: rtc.Participant) -> None:
        if self.seat.is_caller(participant.identity):
            self._tell().attributes(changed)

    def _keyed(self, key: rtc.SipDTMF) -> None:
        if key.participant is not None and self.seat.is_caller(key.participant.identity):
            self._tell().keyed(key.digit)

    def _disconnected(self, reason: rtc.DisconnectReason.ValueType) -> None:
        self.lost = self.lost or reason not in _SENT_AWAY
        self.deserted = self.deserted or self.lost or reason == rtc.DisconnectReason.PARTICIPANT_REMOVED
        self._tell().ended()

    def _chat(self, reader: rtc.TextStreamReader, identity: str) -> None:
        self._spawn(self._read_chat(reader, identity))

    async def _read_chat(self, reader: rtc.TextStreamReader, identity: str) -> None:
        text = await reader.read_all()
        if self.seat.identity is None:  # it can come before its sender is announced
            self._look_around()
        if self.seat.is_caller(identity) and text.strip():
            self._tell().typed(text)

    def caller_attributes(self) -> dict[str, str]:
        """What the caller's side chose; empty while nobody is there."""
        participant = self.room.remote_participants.get(self.seat.identity or "")
        return {} if participant is None else dict(participant.attributes)

    def _tell(self) -> Hears:
        assert self._hears is not None
        return self._hears


BIT_RATE = 72_000
"""From about 64 kb/s on Opus codes a voice as it codes music (CELT). At LiveKit's 48 it models the voice (SILK), which
is most of what its encoder costs: then a call takes 6.5 % of a core in place of 4.7."""

_PUBLISHED = rtc.TrackPublishOptions(
    source=rtc.TrackSource.SOURCE_MICROPHONE,
    audio_encoding=AudioEncoding(max_bitrate=BIT_RATE),
    dtx=False,  # it would swallow the first frames of speech after silence
)

_SENT_AWAY = (
    rtc.DisconnectReason.CLIENT_INITIATED,
    rtc.DisconnectReason.PARTICIPANT_REMOVED,
    rtc.DisconnectReason.ROOM_DELETED,
    rtc.DisconnectReason.ROOM_CLOSED,
)
"""The agent left, or was put out."""
