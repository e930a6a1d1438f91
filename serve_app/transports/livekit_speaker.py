"""The agent's track: what it says leaves for the room at a steady pace, however unsteady this process is."""

import time
from collections.abc import Callable

import numpy as np
from livekit import rtc

from deployments.audio import FRAME_MS
from deployments.contracts import Pcm
from serve_app.transports.livekit_ffi import SourceWriter

ROOM_RATE_HZ = 48_000
"""Opus' own rate: nothing is resampled on the way into the room."""
FRAME_S = FRAME_MS / 1000
QUEUE_MS = 3 * FRAME_MS
"""Room on the native side, which sends 10 ms every 10 ms by its own clock, without Python's lock. About two frames
wait there, so a stroke that comes late is heard by nobody, and the listener's jitter buffer stays small: it wins more
than it costs. A frame more than that is never refused."""
LEAD_S = 1.5 * FRAME_S
"""So much is to be queued after a stroke at least: half a frame is left when the next one comes."""


class Speaker:
    """It is never quiet: between answers the native side sends silence by itself, because a listener whose stream
    stops and begins again is kept waiting by a jitter buffer that has grown. An answer begins within 10 ms of its
    first frame, and has its lead from there on."""

    def __init__(self) -> None:
        self.source = rtc.AudioSource(ROOM_RATE_HZ, 1, queue_size_ms=QUEUE_MS)
        self.track = rtc.LocalAudioTrack.create_audio_track("agent", self.source)
        self._writer = SourceWriter(self.source)
        self._queued_until_s = 0.0
        self._sounding = False
        self._live = False
        self.silence_s = 0.0
        """Between the last frame that was given and the one that is asked for now."""
        self.next_frame: Callable[[], Pcm | None] = lambda: None
        self.on_frame: Callable[[Pcm | None], None] | None = None
        """Told what is being played, for echo cancellation."""

    def strike(self) -> None:
        """20 ms have passed, or there is sound after a silence: fill the queue up to its lead."""
        if self._live:
            return
        now_s = time.monotonic()
        self.silence_s = max(0.0, now_s - self._queued_until_s)
        self._queued_until_s = max(self._queued_until_s, now_s)
        frames: list[Pcm] = []
        while self._queued_until_s < now_s + LEAD_S:
            frame = self.next_frame()
            if frame is None and self._sounding and self._queued_until_s >= now_s + FRAME_S:
                break  # the next piece of the answer may be here at the next stroke, which is soon enough
            if self.on_frame is not None:
                self.on_frame(frame)
            if frame is None:
                self._sounding = False
                break
            self._sounding, self.silence_s = True, 0.0
            frames.append(frame)
            self._queued_until_s += FRAME_S
        if frames:  # in one request: the native side may take two that are made at once in either order
            self._writer.write(frames[0] if len(frames) == 1 else np.concatenate(frames))

    def pass_on(self, pcm: Pcm, *, loud: bool) -> None:
        """From now on sound goes out as it comes: int16[n] at 48 kHz, n a multiple of 480. What is queued before
        something loud is dropped, so that a delay once caught does not stay."""
        self._live = True
        if loud and not self._sounding:
            self._clear(time.monotonic())
        self._sounding = loud
        self._writer.write(pcm)
        self._queued_until_s += len(pcm) / ROOM_RATE_HZ

    def _clear(self, now_s: float) -> None:
        self.source.clear_queue()
        self._queued_until_s = now_s

    def queued_samples(self) -> int:
        """How much of the sound given is still to be sent, at 48 kHz."""
        if not self._sounding:
            return 0
        return round(max(0.0, self._queued_until_s - time.monotonic()) * ROOM_RATE_HZ)

    def take_back(self) -> int:
        """Fall silent within 10 ms. Returns how many of the last samples given were not sent."""
        unsent = self.queued_samples()
        if unsent:
            self._sounding = False
            self._clear(time.monotonic())
        return unsent

    async def close(self) -> None:
        await self.source.aclose()
