"""Two shortcuts through `livekit.rtc` that many calls in one process need, and an orderly end. They use what is
private there, so they are kept in this one place; where it changes, the public way is taken instead."""

import asyncio
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


PARTING_S = 2.0
"""So long after a room its track is let go: the native side takes the room apart in threads of its own."""

_parting: set[Any] = set()
"""Native sides of tracks whose rooms are being taken apart. Held here, not by an event loop, which may end before."""


def forget(room: rtc.Room, track: rtc.LocalAudioTrack) -> None:
    """Let go of a room that was left, and then of the agent's own track in it.

    In a room that was ended by the server the track is still sent by a connection that is closed. Whichever of them
    the garbage collector lets go of last, and when, decides whether the process goes on: with the track gone first,
    the threads that the rest needs are gone, too (livekit/rust-sdks#1443 has the reason). A track that goes last
    also takes its own thread with it.
    """
    people = [room.local_participant, *room.remote_participants.values()] if room._local_participant else []
    for person in people:
        for publication in person.track_publications.values():
            if publication.track is not None and publication.track is not track:
                publication.track._ffi_handle.dispose()
            publication._ffi_handle.dispose()
        person._ffi_handle.dispose()
    if room._ffi_handle is not None:
        room._ffi_handle.dispose()
    handle = track._ffi_handle
    _parting.add(handle)
    asyncio.get_running_loop().call_later(PARTING_S, _part, handle)


def _part(handle: Any) -> None:
    _parting.discard(handle)
    handle.dispose()
