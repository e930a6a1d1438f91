"""The OpenAI Realtime protocol (GA events) over one WebSocket: a call's transport.

Nothing is queued here: the socket is read only when the call asks for more, so a call that cannot keep up lets the
client's TCP window fill; and a client that does not read its events is gone after `send_timeout_s`.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect

from deployments.contracts import Pcm
from deployments.errors import BadRequest, CallerGone
from serve_app.choosing import names_in
from serve_app.conversation.items import CallSettings, MessageItem, new_id
from serve_app.conversation.messages import Configure, Configured, Event, Order
from serve_app.transports.realtime_audio import WIRE_RATE_HZ, InputStream, Player
from serve_app.transports.realtime_orders import to_order
from serve_app.transports.realtime_parse import Wire, check_event, event_id, load
from serve_app.transports.realtime_render import EXTENSIONS, Renderer, error_wire
from serve_app.transports.realtime_session import Session

log = logging.getLogger(__name__)

CLOSE_CODES = {
    "goodbye": 1000,
    "silence": 1000,
    "going away": 1001,
    "shutting down": 1001,
    "failed": 1011,
    "at capacity": 1013,
}
"""By the reason given to `close`. RFC 6455 section 7.4 and the IANA registry: normal closure, going away, internal
error, try again later. Any other reason is 1000."""


LAST_WORDS_S = 0.5
"""A client that has closed its socket has said so by then."""
HANGING_UP = (1000, 1001, 1005)
"""Close codes of a client that wants no more: done, the page was left, and none given."""


@dataclass(frozen=True, slots=True)
class RealtimeLimits:
    """`max_event_bytes`: OpenAI's 15 MiB for an append; uvicorn itself closes (1009) above its `ws_max_size`.

    `send_timeout_s`: a client whose connection takes nothing for so long is gone.
    """

    max_event_bytes: int = 15 * 2**20
    send_timeout_s: float = 5.0


def read_extensions(query: str | None) -> frozenset[str]:
    """The names in the connection's `antiphon_events=timeline.v1,state.v1`, known or not."""
    return frozenset(name.strip() for name in (query or "").split(",") if name.strip())


def asked_for(query: Mapping[str, str], instructions: str) -> CallSettings:
    """The settings that a connection's query asks for: `models`, `needs`, `language`, `voice`."""
    return CallSettings(
        instructions,
        voice=query.get("voice"),
        language=query.get("language"),
        models=names_in(query.get("models", "")),
        needs=names_in(query.get("needs", "")),
    )


class RealtimeSocket:
    """See `Transport`. The WebSocket is accepted already; `inputs` is iterated once."""

    rate_hz = WIRE_RATE_HZ

    def __init__(
        self,
        websocket: WebSocket,
        defaults: CallSettings,
        *,
        session_id: str,
        model: str,
        voices: Sequence[str],
        limits: RealtimeLimits,
        extensions: frozenset[str],
        lost_session: str | None = None,
    ) -> None:
        """`lost_session`: the one that the client wanted to go on with, and that there is not."""
        self._websocket = websocket
        self._limits = limits
        self._session = Session.begin(defaults, session_id=session_id, model=model, voices=voices)
        self._configuring: deque[tuple[CallSettings, Session]] = deque()  # sent to the call, not yet confirmed
        self._renderer = Renderer(self._session, extensions)
        self._input = InputStream(self._session.input_format)
        self._player = Player()
        self._broke = False
        self._heard_out = False
        self._unknown = sorted(extensions - EXTENSIONS)
        self._lost_session = lost_session
        self._sending = asyncio.Lock()
        self._receiving: asyncio.Timeout | None = None
        self._gone = False
        self._attended = asyncio.Event()

    # --- in

    async def attended(self) -> None:
        """A client that wants the call otherwise says so first of all."""
        await self._attended.wait()

    async def inputs(self) -> AsyncIterator[Pcm | Order]:
        try:
            await self._greet()
            while (message := await self._receive()) is not None:
                for thing in self._read(message):
                    if isinstance(thing, dict):
                        await self._send([thing])
                    else:
                        yield thing
        except CallerGone:
            return

    async def _greet(self) -> None:
        conversation = {"id": self._renderer.conversation_id, "object": "realtime.conversation"}
        await self._send(
            [
                {"type": "session.created", "session": self._session.shown},
                {"type": "conversation.created", "conversation": conversation},
            ]
        )
        if self._lost_session is not None:
            message = "There is no such session any more; this one is new."
            await self._send([error_wire(message, "unknown_session", "session", None)])
        known = ", ".join(sorted(EXTENSIONS))
        for name in self._unknown:
            message = f"Unknown event '{name}'; known are {known}."
            await self._send([error_wire(message, "unknown_extension", "antiphon_events", None)])

    async def _receive(self) -> str | bytes | None:
        """The next frame; None when there will be no more."""
        if self._gone:
            return None
        try:
            async with asyncio.timeout(None) as self._receiving:
                message = await self._websocket.receive()
        except TimeoutError:  # closed by us
            return None
        except (WebSocketDisconnect, RuntimeError):  # closed by them; before we asked
            self._broke = self._broke or not self._gone
            return None
        finally:
            self._receiving = None
        if message["type"] != "websocket.receive":
            self._gone = self._heard_out = True
            self._broke = message.get("code") not in HANGING_UP
            return None
        text: str | None = message.get("text")
        return text if text is not None else bytes(message.get("bytes") or b"")

    def _read(self, frame: str | bytes) -> Iterator[Pcm | Order | Wire]:
        """What a frame means: audio, an order, or (a dict) an error event to send back."""
        ref = None
        self._attended.set()
        try:
            if isinstance(frame, bytes):
                raise BadRequest("Events are text frames; audio goes base64 into 'audio'.", code="binary_frame")
            event = load(frame, self._limits.max_event_bytes)
            ref = event_id(event)
            check_event(event)
            yield from self._understood(event)
        except BadRequest as error:
            log.debug("refused an event: %s", error.code)
            yield error_wire(str(error), error.code, error.field, ref)

    def _understood(self, event: Wire) -> Iterator[Pcm | Order]:
        match event["type"]:
            case "input_audio_buffer.append":
                yield from self._input.push(event["audio"])
            case "input_audio_buffer.commit":
                yield from self._input.rest()
                yield to_order(event, self._session)
            case "session.update":
                yield self._configure(event)
            case _:
                yield to_order(event, self._session)

    def _configure(self, event: Wire) -> Configure:
        self._session = self._session.updated(event["session"])
        if self._session.input_format != self._input.wire_format:
            # what the old format's resampler holds back, a fiftieth of a second, is dropped with it
            self._input = InputStream(self._session.input_format)
        settings = self._session.settings()
        self._configuring.append((settings, self._session))
        return Configure(settings, event_id(event))

    # --- out

    async def play(self, pcm: Pcm, item: MessageItem) -> None:
        if self._renderer.is_open(item):
            self._player.push(len(pcm))
            await self._send(self._renderer.audio(pcm, item))

    def stop_playing(self) -> int:
        return self._player.stop()

    def unplayed(self) -> int:
        return self._player.unplayed()

    async def send_event(self, event: Event) -> None:
        if isinstance(event, Configured):
            self._confirm(event.settings)
        await self._send(self._renderer.render(event))

    def _confirm(self, settings: CallSettings) -> None:
        """The client is told the session that these settings came from, even if it has sent another one since."""
        while self._configuring:
            confirmed, session = self._configuring.popleft()
            self._renderer.session = session
            if confirmed == settings:
                return

    async def close(self, reason: str) -> None:
        if self._gone:
            return
        self._leave()
        code = CLOSE_CODES.get(reason, 1000)
        try:
            async with asyncio.timeout(self._limits.send_timeout_s), self._sending:
                # A control frame holds 125 bytes, two of which are the code.
                await self._websocket.close(code, reason.encode()[:123].decode(errors="ignore"))
        except (TimeoutError, RuntimeError, WebSocketDisconnect):
            log.debug("the client was gone before it could be told why")

    async def hung_up(self, *, unread: bool = False) -> bool:
        """Did the client, or did we, close the socket as one does? Else its connection broke, and it may come back. To
        be asked when the call is over. `unread`: it is over because the client left, and that may not be read yet."""
        self._broke = self._broke or (unread and not self._heard_out)
        if self._broke:  # found out otherwise than by reading: what the client said last may not have been read
            with suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
                async with asyncio.timeout(LAST_WORDS_S):
                    while (message := await self._websocket.receive())["type"] == "websocket.receive":
                        pass
                self._broke = message.get("code") not in HANGING_UP
        return not self._broke

    def _leave(self) -> None:
        """Nothing is sent any more, and `inputs` ends, even while it waits."""
        self._gone = True
        if self._receiving is not None:
            self._receiving.reschedule(asyncio.get_running_loop().time())

    async def _send(self, events: Iterable[Wire]) -> None:
        """All of them, with nothing in between. Raises `CallerGone`."""
        async with self._sending:
            for event in events:
                await self._write(event)

    async def _write(self, event: Wire) -> None:
        if self._gone:
            raise CallerGone("The caller has left.")
        text = json.dumps({"event_id": new_id("event"), **event}, separators=(",", ":"))
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._websocket.send_text(text)
        except (TimeoutError, WebSocketDisconnect, RuntimeError) as error:
            self._broke = True
            self._leave()
            raise CallerGone("The caller has left, or takes nothing any more.") from error
