"""A LiveKit room as a call's transport: the caller's sound at 16 kHz in, the agent's at 48 kHz out."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable

from livekit.rtc.participant import PublishDataError

from deployments.contracts import Pcm
from deployments.errors import BadRequest, CallerGone
from serve_app.conversation.items import CallSettings, MessageItem
from serve_app.conversation.messages import (
    Configure,
    Event,
    Order,
    PauseSpeaking,
    ResumeSpeaking,
    StateChanged,
    StopSpeaking,
    TypeText,
)
from serve_app.transports.livekit_audio import Microphone
from serve_app.transports.livekit_caller import Presence
from serve_app.transports.livekit_line import RoomLine
from serve_app.transports.livekit_orders import PAUSE, RESUME, STOP
from serve_app.transports.livekit_speaker import ROOM_RATE_HZ
from serve_app.transports.livekit_words import ERROR_TOPIC

log = logging.getLogger("antiphon.rooms")

FRAMES_LIMIT = 250
"""Frames of the caller's that wait for the call: 5 s. A call that is further behind loses the oldest."""
ORDERS_LIMIT = 256
"""Orders that wait for the call; more are dropped: nobody types so fast."""
KEYS_PAUSE_S = 1.5
"""Telephone keys are one message when they follow each other faster than this, or end with `#`."""
TELL_S = 5.0
"""What a room has not taken by then is not told: its connection is being mended."""

Choose = Callable[[dict[str, str]], CallSettings]
"""The settings that the caller's attributes mean. Raises BadRequest."""


class LiveKitRoom:
    """See `PacedTransport`. The line is open when the call begins; `close` leaves the room."""

    rate_hz = ROOM_RATE_HZ

    def __init__(self, line: RoomLine, *, return_s: float) -> None:
        self.line = line
        self.microphone = Microphone(self._push_frame)
        self.here = asyncio.Event()
        """The caller has come."""
        self.over = asyncio.Event()
        """The caller has left for good, or the room is no more."""
        self.choose: Choose | None = None
        self._return_s = return_s
        self._frames: deque[Pcm] = deque(maxlen=FRAMES_LIMIT)
        self._orders: deque[Order] = deque()
        self._given = asyncio.Event()
        self._keys = ""
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self._refused: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Join the room. Raises RoomLost."""
        await self.line.open(self, self.microphone)

    # --- in

    async def inputs(self) -> AsyncIterator[Pcm | Order]:
        while not self.over.is_set():
            while self._orders:
                yield self._orders.popleft()
            while self._frames and not self._orders:
                yield self._frames.popleft()
            if not self._orders:
                self._given.clear()
                await self._given.wait()

    def _push_frame(self, pcm: Pcm) -> None:
        self._frames.append(pcm)
        self._given.set()

    def _order(self, order: Order) -> None:
        if len(self._orders) < ORDERS_LIMIT:
            self._orders.append(order)
            self._given.set()
        else:
            log.warning("dropped an order: %d are waiting", ORDERS_LIMIT)

    def presence(self, presence: Presence) -> None:
        """The caller came, dropped, came back or left."""
        log.info("the caller is %s", presence.name.lower())
        self._cancel("return")
        if presence is Presence.HERE:
            self.here.set()
            self._order(ResumeSpeaking("absence"))
        elif presence is Presence.AWAY:
            self._order(PauseSpeaking("absence"))
            self._later("return", self._return_s, self.ended)
        else:
            self.ended()

    def ended(self) -> None:
        self.over.set()
        self.here.set()
        self._given.set()

    def typed(self, text: str) -> None:
        self._order(TypeText(text))

    def ordered(self, method: str) -> None:
        self._order({STOP: StopSpeaking, PAUSE: PauseSpeaking, RESUME: ResumeSpeaking}[method]())

    def keyed(self, key: str) -> None:
        """Keys of a telephone become the caller's words once they are complete."""
        self._keys += key
        self._cancel("keys")
        if key == "#":
            self._press()
        else:
            self._later("keys", KEYS_PAUSE_S, self._press)

    def _press(self) -> None:
        keys, self._keys = self._keys, ""
        if keys:
            self._order(TypeText(f"[keys pressed: {keys}]"))

    def attributes(self, changed: dict[str, str]) -> None:
        """The caller changed what they chose for the call."""
        if self.choose is None or not any(name.startswith("antiphon.") for name in changed):
            return
        try:
            self._order(Configure(self.choose(self.line.caller_attributes())))
        except BadRequest as wrong:
            body = {"code": wrong.code, "message": str(wrong), "field": wrong.field}
            if self.line.teller is not None and (self._refused is None or self._refused.done()):
                self._refused = asyncio.create_task(self.line.teller.data(ERROR_TOPIC, body))

    def _later(self, what: str, delay_s: float, do: Callable[[], None]) -> None:
        self._waiting[what] = asyncio.get_running_loop().call_later(delay_s, do)

    def _cancel(self, what: str) -> None:
        if (timer := self._waiting.pop(what, None)) is not None:
            timer.cancel()

    # --- out

    def speak_from(self, next_frame: Callable[[], Pcm | None]) -> None:
        self.line.speaker.next_frame = next_frame

    def hurry(self) -> None:
        self.line.speaker.strike()

    def silence_ms(self) -> float:
        return self.line.speaker.silence_s * 1000

    def take_back(self) -> int:
        return self.line.speaker.take_back()

    async def attended(self) -> None:
        await self.line.listened_to()

    async def play(self, pcm: Pcm, item: MessageItem) -> None:
        raise AssertionError("the room's own clock asks for frames")

    def stop_playing(self) -> int:
        return self.take_back()

    def unplayed(self) -> int:
        return self.line.speaker.queued_samples()

    async def send_event(self, event: Event) -> None:
        if self.line.teller is None:
            return
        try:
            async with asyncio.timeout(TELL_S):
                await self.line.teller.tell(event)
        except (PublishDataError, RuntimeError, ConnectionError, TimeoutError) as lost:
            if self.over.is_set():
                raise CallerGone("the room is no more") from lost
            # The connection is being mended: what was told meanwhile is lost, as the sound of this time is.
            log.warning("the room was not told %s: %s", type(event).__name__, lost)

    @property
    def caller_left(self) -> bool:
        """They went themselves, or stayed away too long."""
        return self.line.seat.presence in (Presence.GONE, Presence.AWAY)

    async def show_listening(self) -> None:
        """The agent is ready for its caller."""
        await self.send_event(StateChanged("idle"))

    async def close(self, reason: str) -> None:
        self.ended()
        for what in list(self._waiting):
            self._cancel(what)
        if self._refused is not None:
            self._refused.cancel()
            await asyncio.gather(self._refused, return_exceptions=True)
        await self.line.close()
