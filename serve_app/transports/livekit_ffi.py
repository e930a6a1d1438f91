"""Shortcuts through `livekit.rtc` that many calls in one process need, and an orderly end of a room. They use what is
private there, so they are kept in this one place; requirements/ pins the version that they are written for."""

import asyncio
import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient, FfiHandle, ffi_event_callback
from livekit.rtc._proto import ffi_pb2
from livekit.rtc._proto.room_pb2 import AudioEncoding as AudioEncoding
from livekit.rtc.version import __version__

from deployments.contracts import Pcm

KEPT_FRAMES = 8
"""Frames whose memory stays untouched after they were handed over: longer than the native side may look at it."""


class Place(NamedTuple):
    """Memory for a frame, and the request that hands it over."""

    pcm: Pcm
    request: "ctypes.Array[ctypes.c_ubyte]"
    request_bytes: int


class SourceWriter:
    """Hands frames to an `rtc.AudioSource` without waiting for its answer.

    `AudioSource.capture_frame` listens to all native events of the process for each frame, to wait for one that a
    source with room in its queue sends at once: with 14 calls that is 700 times a second. Here frames are copied to
    places whose requests are written once. What finds no room is dropped by the native side.
    """

    def __init__(self, source: rtc.AudioSource) -> None:
        self._source = source
        self._places: dict[int, Iterator[Place]] = {}
        self._answer = ctypes.POINTER(ctypes.c_ubyte)()
        self._answer_bytes = ctypes.c_size_t()

    def write(self, frame: Pcm) -> None:
        """int16[n] at the source's rate, n a multiple of 10 ms."""
        places = self._places.get(len(frame))
        if places is None:
            places = self._places[len(frame)] = cycle([self._place(len(frame)) for _ in range(KEPT_FRAMES)])
        place = next(places)
        place.pcm[:] = frame
        native = FfiClient.instance._ffi_lib
        native.livekit_ffi_drop_handle(
            native.livekit_ffi_request(
                place.request, place.request_bytes, ctypes.byref(self._answer), ctypes.byref(self._answer_bytes)
            )
        )

    def _place(self, length: int) -> Place:
        pcm = np.zeros(length, np.int16)
        request = ffi_pb2.FfiRequest()
        capture = request.capture_audio_frame
        capture.source_handle = self._source._ffi_handle.handle
        capture.buffer.num_channels = self._source.num_channels
        capture.buffer.sample_rate = self._source.sample_rate
        capture.buffer.data_ptr = pcm.ctypes.data
        capture.buffer.samples_per_channel = length
        written = request.SerializeToString()
        return Place(pcm, (ctypes.c_ubyte * len(written)).from_buffer_copy(written), len(written))


def divert(stream: rtc.AudioStream, push: Callable[[Pcm], None]) -> None:
    """From now on the stream's frames go to `push` as they come, int16[n], on the event loop; iterating over the
    stream only tells when it ends. On their own way they pass through two queues and wake two tasks, each frame."""
    queue: Any = stream._ffi_queue
    own, put, native = stream._ffi_handle.handle, queue.put_nowait, FfiClient.instance._ffi_lib

    def take(event: Any) -> None:
        audio = event.audio_stream_event
        if audio.stream_handle != own or not audio.HasField("frame_received"):
            put(event)
            return
        frame = audio.frame_received.frame
        length = frame.info.num_channels * frame.info.samples_per_channel
        pcm = np.frombuffer(ctypes.string_at(frame.info.data_ptr, 2 * length), np.int16)
        native.livekit_ffi_drop_handle(frame.handle.id)
        push(pcm)

    queue.put_nowait = take


async def set_attributes(local: rtc.LocalParticipant, attributes: Mapping[str, str]) -> None:
    """As `LocalParticipant.set_attributes`, which says nothing when it failed. Raises `RuntimeError` with the reason:
    the server did not want them, or the connection is broken and they were never sent."""
    request = ffi_pb2.FfiRequest()
    wanted = request.set_local_attributes
    wanted.local_participant_handle = local._ffi_handle.handle
    for name, value in attributes.items():
        entry = wanted.attributes.add()
        entry.key, entry.value = name, value
    events = FfiClient.instance.queue.subscribe()
    try:
        number = FfiClient.instance.request(request).set_local_attributes.async_id
        done = await events.wait_for(lambda event: event.set_local_attributes.async_id == number)
    finally:
        FfiClient.instance.queue.unsubscribe(events)
    if done.set_local_attributes.HasField("error"):
        raise RuntimeError(done.set_local_attributes.error)


def keep_logs_native() -> None:
    """The native side hands over each line of its log, about as many as frames, for Python to drop nearly all. From now
    on it writes its errors to stderr by itself; the variable RUST_LOG says what else."""
    client = FfiClient.instance
    client._ffi_lib.livekit_ffi_initialize(ffi_event_callback, False, b"python", __version__.encode())


def let_go_late() -> None:
    """A room that is left ends the tracks that were heard in it natively, in a thread of its own. `FfiHandle` asserts
    that the native side of a track is there when Python lets go of it, which fails where both happen at once. From now
    on it may be gone already."""
    FfiHandle.dispose = _dispose  # type: ignore[method-assign]


def _dispose(
    self: FfiHandle,
    dispose: Callable[[FfiHandle], None] = FfiHandle.dispose,
    gone: type[suppress] = suppress,
) -> None:
    """Handles are let go of at the process's end as well, when a module has no names any more, but functions still
    have their defaults."""
    with gone(AssertionError):
        dispose(self)


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
