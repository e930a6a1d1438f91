"""Is the agent audible, and since when? For while the call goes on; a verdict is made from the recording."""

import numpy as np

from loadtest.recording import RATE_HZ, Track
from loadtest.room_sound import LOUD_PEAK
from loadtest.sound import FRAME_SAMPLES

LATE_FRAMES = 20
"""In a room frames arrive late, and are written where they belong: so many are looked at again."""

STILL = RATE_HZ * 15 // 100
"""Who was loud so lately is audible: between syllables there is nothing, and frames are late."""


class Ear:
    """Look at it with every frame."""

    def __init__(self, track: Track) -> None:
        self._track = track
        self._loud: list[bool] = []  # by frame

    def look(self, now: int) -> None:
        """What sounded up to `now`."""
        seen = max(0, len(self._loud) - LATE_FRAMES)
        end = now // FRAME_SAMPLES
        if end <= seen:
            return
        frames = self._track.read(seen * FRAME_SAMPLES, end * FRAME_SAMPLES).reshape(-1, FRAME_SAMPLES)
        self._loud[seen:] = (np.abs(frames.astype(np.int32)).max(axis=1) >= LOUD_PEAK).tolist()

    def first_after(self, at: int) -> int | None:
        """Where the first loud frame from there on begins."""
        first = -(-at // FRAME_SAMPLES)
        found = next((frame for frame in range(first, len(self._loud)) if self._loud[frame]), None)
        return None if found is None else found * FRAME_SAMPLES

    def loud_until(self) -> int:
        """Where the last loud frame ends; 0 where there was none."""
        last = next((frame for frame in range(len(self._loud) - 1, -1, -1) if self._loud[frame]), -1)
        return (last + 1) * FRAME_SAMPLES

    def audible(self, now: int) -> bool:
        return now - self.loud_until() < STILL
