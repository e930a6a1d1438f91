"""Sound handed to a room as it is recorded, by a program that plays many callers on few cores."""

from collections import deque

import numpy as np
from livekit import rtc
from livekit.rtc._ffi_client import FfiClient
from livekit.rtc._proto import ffi_pb2

from loadtest.voiced import Pcm

ROOM_RATE_HZ = 48_000
PIECE_SAMPLES = ROOM_RATE_HZ // 100
"""A source without a queue, the one that delays least, takes 10 ms at a time."""
KEPT = 8
"""Frames whose memory stays untouched for longer than the native side may look at it."""


class RoomSource:
    """A microphone at 48 kHz.

    `AudioSource.capture_frame` looks for its answer among all native events of the process, a hundred times a second
    for each caller. What it would wait for is certain, so the request is made without it. It uses what is private in
    the library, and fails with an AttributeError where that changes.
    """

    def __init__(self) -> None:
        self.native = rtc.AudioSource(ROOM_RATE_HZ, 1, queue_size_ms=0)
        self._request = ffi_pb2.FfiRequest()
        self._request.capture_audio_frame.source_handle = self.native._ffi_handle.handle
        self._piece = self._request.capture_audio_frame.buffer
        self._piece.num_channels = 1
        self._piece.sample_rate = ROOM_RATE_HZ
        self._piece.samples_per_channel = PIECE_SAMPLES
        self._kept: deque[Pcm] = deque(maxlen=KEPT)

    def give(self, pcm: Pcm) -> None:
        """int16[n], n a multiple of 480."""
        whole = np.ascontiguousarray(pcm, np.int16)
        self._kept.append(whole)
        for first in range(0, len(whole), PIECE_SAMPLES):
            self._piece.data_ptr = whole.ctypes.data + first * whole.itemsize
            FfiClient.instance.request(self._request)

    async def aclose(self) -> None:
        await self.native.aclose()
