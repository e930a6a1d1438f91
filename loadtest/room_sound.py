"""Sound into a LiveKit room and out of it: a microphone's steady pace, and where received frames belong in time."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from loadtest.recording import RATE_HZ, Track
from loadtest.sound import FRAME_S
from loadtest.voiced import Pcm

ROOM_RATE_HZ = 48_000
ROOM_FRAME_SAMPLES = ROOM_RATE_HZ // 50
PIECE_SAMPLES = ROOM_RATE_HZ // 100
"""An AudioSource without a queue, the one that delays least, takes 10 ms at a time."""

FRAME_MS = 20
"""As the codec packs them; the library's 10 ms cost a caller half as much again, and a machine full of them is busy."""

QUEUE_MS = 80
"""Of a sender that saves work: the native side keeps the pace then, and sends silence where it has nothing."""

STREAM_FRAMES = 250
"""An AudioStream of a program that stands still for longer than 5 s loses the oldest frames."""

CLOCK_WINDOW_S = 1.0
TAPS = 32
SILENCE_PEAK = 16
"""A codec makes this of silence (-66 dBFS); it is written as silence, so that no floor is measured from it."""

LOUD_PEAK = 328
"""-40 dBFS: the agent can be heard."""

ARRIVALS_KEPT = 60_000
"""Ten minutes of frames."""


class Sender:
    """A track of one's own. `next_frame` gives 20 ms whenever its last sample would have been recorded: int16[960] at
    48 kHz.

    A `frugal` one is for many calls on one machine: silence costs it nothing, and speech half as many requests; all
    it sends leaves 20 to 30 ms later.
    """

    def __init__(self, name: str, next_frame: Callable[[], Pcm], *, dtx: bool = True, frugal: bool = False) -> None:
        self._frugal, self._silent = frugal, True
        self._source = rtc.AudioSource(ROOM_RATE_HZ, 1, queue_size_ms=QUEUE_MS if frugal else 0)
        self._track = rtc.LocalAudioTrack.create_audio_track(name, self._source)
        self._next_frame = next_frame
        self._dtx = dtx  # send next to nothing while there is silence, as microphones do in rooms

    async def publish(self, room: rtc.Room) -> rtc.LocalTrackPublication:
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE, dtx=self._dtx)
        return await room.local_participant.publish_track(self._track, options)

    async def run(self, started_s: float) -> None:
        """Until it is cancelled. The n-th frame has its time after `started_s`; late ones catch up."""
        sent = 0
        while True:
            await asyncio.sleep(started_s + (sent + 1) * FRAME_S - time.monotonic())
            frame = self._next_frame()
            if self._frugal:
                await self._send_speech(frame)
            else:
                await self.send(frame)
            sent += 1

    async def _send_speech(self, frame: Pcm) -> None:
        if not frame.any():
            self._silent = True
            return
        if self._silent:  # a frame of lead, for strokes that come late
            frame, self._silent = np.concatenate((np.zeros_like(frame), frame)), False
        await self._source.capture_frame(rtc.AudioFrame(frame.tobytes(), ROOM_RATE_HZ, 1, len(frame)))

    async def send(self, pcm: Pcm) -> None:
        """int16[n] at 48 kHz, n a multiple of 480."""
        for first in range(0, len(pcm), PIECE_SAMPLES):
            part = pcm[first : first + PIECE_SAMPLES].tobytes()
            await self._source.capture_frame(rtc.AudioFrame(part, ROOM_RATE_HZ, 1, PIECE_SAMPLES))

    async def aclose(self) -> None:
        await self._source.aclose()


class Doubler:
    """24 kHz to 48 kHz, frame by frame, less than a millisecond late: every second sample is one that came, those
    between are interpolated (a half-band filter of 32 taps, windowed)."""

    def __init__(self) -> None:
        offsets = np.arange(TAPS) - TAPS / 2 + 0.5
        self._filter = np.sinc(offsets) * np.hamming(TAPS)
        self._before = np.zeros(TAPS, np.int16)

    def __call__(self, pcm: Pcm) -> Pcm:
        """int16[n] -> int16[2 n]"""
        known = np.concatenate((self._before, pcm))
        self._before = known[-TAPS:]
        doubled = np.empty(2 * len(pcm), np.int16)
        middle = TAPS // 2
        doubled[0::2] = known[middle : middle + len(pcm)]
        between = np.convolve(known[1:], self._filter, "valid")[: len(pcm)]
        doubled[1::2] = np.clip(np.round(between), -32768, 32767)
        return doubled


class FrameClock:
    """When the frames of an endless track were due, though they arrive a little late, each by its own delay.

    The samples are counted: a frame is due when the least delayed of the last second's frames says so. A program that
    stands still for a moment is late for some frames; in the recording they lie where they belong.
    """

    def __init__(self, window_s: float = CLOCK_WINDOW_S) -> None:
        self._window_s = window_s
        self._received_s = 0.0
        self._delays: deque[tuple[float, float]] = deque()  # (when, delay), delays rising: the first is the least

    def due_s(self, arrived_s: float, length_s: float) -> float:
        """When the frame that arrives now was due: at `arrived_s` or before."""
        delay = arrived_s - self._received_s
        while self._delays and self._delays[-1][1] >= delay:
            self._delays.pop()
        self._delays.append((arrived_s, delay))
        while self._delays[0][0] < arrived_s - self._window_s:
            self._delays.popleft()
        due_s = self._received_s + self._delays[0][1]
        self._received_s += length_s
        return due_s


@dataclass(frozen=True, slots=True)
class Jitter:
    """Of frames at a receiver, in ms: `late` after each was due, `step` how far from its length the time between two
    frames was. float[n] each."""

    late_ms: NDArray[np.float64]
    step_ms: NDArray[np.float64]


class Listener:
    """Writes the frames of one track into a recording, and knows how punctual they were.

    `started_s` is the zero of the recording's clock; before it is set, nothing is written.
    """

    def __init__(self, track: Track) -> None:
        self._track = track
        self.started_s: float | None = None
        self.loud_until = 0  # samples of the call's clock
        self.ends_at = 0
        self._arrivals: deque[tuple[float, float, float]] = deque(maxlen=ARRIVALS_KEPT)  # arrived, due, length: s
        self._clock = FrameClock()

    async def run(self, track: rtc.Track) -> None:
        """Until the track ends."""
        self._clock = FrameClock()
        stream = rtc.AudioStream(
            track, sample_rate=RATE_HZ, num_channels=1, frame_size_ms=FRAME_MS, capacity=STREAM_FRAMES
        )
        try:
            async for event in stream:
                self.receive(np.frombuffer(event.frame.data, np.int16), time.monotonic())
        finally:
            await stream.aclose()

    def receive(self, pcm: Pcm, arrived_s: float) -> None:
        """int16[n] at 24 kHz, the samples after those received before."""
        length_s = len(pcm) / RATE_HZ
        due_s = self._clock.due_s(arrived_s, length_s)
        self._arrivals.append((arrived_s, due_s, length_s))
        if self.started_s is None or due_s < self.started_s:
            return
        first = round((due_s - self.started_s) * RATE_HZ)
        peak = int(np.abs(pcm.astype(np.int32)).max(initial=0))
        self._track.write(first, pcm if peak >= SILENCE_PEAK else np.zeros_like(pcm))
        self.ends_at = first + len(pcm)
        if peak >= LOUD_PEAK:
            self.loud_until = self.ends_at

    def jitter(self) -> Jitter:
        arrived, due, length = np.array(self._arrivals, np.float64).reshape(-1, 3).T
        return Jitter((arrived - due) * 1000, np.abs(np.diff(arrived) - length[1:]) * 1000)
