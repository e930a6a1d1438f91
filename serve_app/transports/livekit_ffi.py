"""Two shortcuts through `livekit.rtc` that many calls in one process need. They use what is private there, so they
are kept in this one place; where it changes, the public way is taken instead."""

from collections import deque
from typing import Any

import numpy as np
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient
from livekit.rtc._proto import ffi_pb2

from deployments.contracts import Pcm

KEPT_FRAMES = 8
"""Frames whose memory stays untouched after they were handed over: longer than the native side may look at it."""


class SourceWriter:
    """Hands frames to an `rtc.AudioSource` without waiting for its answer.

    `AudioSource.capture_frame` listens to all native events of the process for each frame, to wait for one that a
    source with room in its queue sends at once: with 14 calls that is 700 times a second. Here the request is made
    once and filled with each frame's address. What finds no room is dropped by the native side.
    """

    def __init__(self, source: rtc.AudioSource) -> None:
        self._kept: deque[Pcm] = deque(maxlen=KEPT_FRAMES)
        self._request = ffi_pb2.FfiRequest()
        capture = self._request.capture_audio_frame
        capture.source_handle = source._ffi_handle.handle
        self._buffer = capture.buffer
        self._buffer.num_channels = source.num_channels
        self._buffer.sample_rate = source.sample_rate

    def write(self, frame: Pcm) -> None:
        """int16[n] at the source's rate, n a multiple of 10 ms."""
        frame = np.ascontiguousarray(frame, np.int16)
        self._kept.append(frame)
        self._buffer.data_ptr = frame.ctypes.data
        self._buffer.samples_per_channel = len(frame)
        FfiClient.instance.request(self._request)


def hear_only_own(room: rtc.Room) -> None:
    """A connected room is handed every native event of the process, and passes over those of others: with n calls
    each of n rooms looks at the events of all. Afterwards it is handed what can concern it."""
    queue, handle = getattr(room, "_ffi_queue", None), getattr(room, "_ffi_handle", None)
    events: Any = FfiClient.instance.queue
    if queue is None or handle is None or not hasattr(events, "_subscribers"):
        return
    own = handle.handle

    def concerns(event: Any) -> bool:
        kind = event.WhichOneof("message")
        if kind == "room_event":
            return bool(event.room_event.room_handle == own)
        return kind not in ("audio_stream_event", "video_stream_event", "capture_audio_frame")

    with events._lock:
        events._subscribers[:] = [
            (to, loop, concerns if to is queue else accepts) for to, loop, accepts in events._subscribers
        ]
