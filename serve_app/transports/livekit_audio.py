"""Sound to and from a room, on one clock for all calls of a process."""

import asyncio
import logging
import time
from collections.abc import Callable

import numpy as np
from livekit import rtc

from deployments.audio import FRAME_MS, frame_samples
from deployments.contracts import SPEECH_RATE_HZ, Pcm
from serve_app.transports.livekit_ffi import divert
from serve_app.transports.livekit_speaker import FRAME_S, ROOM_RATE_HZ

log = logging.getLogger("antiphon.rooms")

MOST_BEHIND = 5
"""Strokes made up for when the process stood still; what is older than this is gone for the listener as well."""
HEARD_LIMIT = 50
"""Frames that may wait between the native side and the call's own queue; more lose the oldest."""
HEARD_MS = 32
"""Sound is fetched in pieces as long as the voice detector's windows: fewer of them, and none waits for the next."""
QUIET_S = 3 * FRAME_S
"""A caller of whom nothing comes for so long is silent: muted, not there yet, or gone for a moment."""


class Metronome:
    """Strikes every 20 ms for all who listen, on a grid that does not drift. One who fails is struck no more: the
    others go on."""

    def __init__(self) -> None:
        self._listeners: dict[object, Callable[[], None]] = {}
        self._awake = asyncio.Event()

    def add(self, listener: object, strike: Callable[[], None]) -> None:
        self._listeners[listener] = strike
        self._awake.set()

    def remove(self, listener: object) -> None:
        self._listeners.pop(listener, None)

    async def run(self) -> None:
        """For ever. A late stroke is made up for at once, so that the sound keeps its pace."""
        while True:
            while not self._listeners:
                self._awake.clear()
                await self._awake.wait()
            next_s = time.monotonic()
            while self._listeners:
                next_s = max(next_s + FRAME_S, time.monotonic() - MOST_BEHIND * FRAME_S)
                await asyncio.sleep(max(0.0, next_s - time.monotonic()))
                self._strike()

    def _strike(self) -> None:
        for listener, strike in list(self._listeners.items()):
            try:
                strike()
            except Exception:
                log.exception("the sound of a call broke")
                self.remove(listener)


class Cleaner:
    """Takes the agent's own echo, noise and hum out of a telephone's sound (WebRTC's audio processing)."""

    def __init__(self) -> None:
        self._apm = rtc.AudioProcessingModule(
            echo_cancellation=True, noise_suppression=True, high_pass_filter=True, auto_gain_control=True
        )

    def heard(self, pcm: Pcm) -> Pcm:
        """int16[320] at 16 kHz, cleaned."""
        return np.concatenate([self._process(part, SPEECH_RATE_HZ, self._apm.process_stream) for part in _halves(pcm)])

    def played(self, pcm: Pcm | None) -> None:
        """int16[960] at 48 kHz that the caller is about to hear."""
        frame = np.zeros(frame_samples(ROOM_RATE_HZ), np.int16) if pcm is None else pcm
        for part in _halves(frame):
            self._process(part, ROOM_RATE_HZ, self._apm.process_reverse_stream)

    @staticmethod
    def _process(pcm: Pcm, rate_hz: int, process: Callable[[rtc.AudioFrame], None]) -> Pcm:
        frame = rtc.AudioFrame(bytearray(pcm.tobytes()), rate_hz, 1, len(pcm))
        process(frame)
        return np.frombuffer(frame.data, np.int16)


def _halves(pcm: Pcm) -> tuple[Pcm, Pcm]:
    """WebRTC processes 10 ms at a time."""
    middle = len(pcm) // 2
    return pcm[:middle], pcm[middle:]


class Microphone:
    """What the caller says: `push` is given int16[512] at 16 kHz every 32 ms, int16[320] of silence where none comes.

    What a `cleaner` is to clean comes in pieces of 20 ms: it is there before the track is, or has none of its sound.
    """

    def __init__(self, push: Callable[[Pcm], None]) -> None:
        self._push = push
        self._last_s = time.monotonic()
        self._silence = np.zeros(frame_samples(SPEECH_RATE_HZ), np.int16)
        self._track: rtc.Track | None = None
        self._piece_ms: int | None = None
        self._listening: asyncio.Task[None] | None = None
        self.cleaner: Cleaner | None = None

    async def listen(self, track: rtc.Track) -> None:
        """From now on this track."""
        await self.unlisten()
        self._track = track
        self._listening = asyncio.create_task(self._listen(track))

    async def listen_in(self, piece_ms: int) -> None:
        """From now on `push` is given pieces of this length."""
        self._piece_ms = piece_ms
        if self._track is not None:
            await self.listen(self._track)

    async def unlisten(self) -> None:
        """The track is gone. Whoever waits for this may be cancelled: the listening ends all the same."""
        self._track = None
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, track: rtc.Track) -> None:
        piece_ms = self._piece_ms or (HEARD_MS if self.cleaner is None else FRAME_MS)
        stream = rtc.AudioStream(
            track, sample_rate=SPEECH_RATE_HZ, num_channels=1, frame_size_ms=piece_ms, capacity=HEARD_LIMIT
        )
        divert(stream, self._heard)
        try:
            async for _ in stream:
                pass
        finally:
            await stream.aclose()

    def _heard(self, pcm: Pcm) -> None:
        self._push(pcm if self.cleaner is None else self.cleaner.heard(pcm))
        self._last_s = time.monotonic()

    def strike(self) -> None:
        """20 ms have passed."""
        if time.monotonic() - self._last_s > QUIET_S:
            self._push(self._silence)
