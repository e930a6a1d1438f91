"""Both sides of a call on one clock, and the player that decides when an answer would have been heard.

Time is counted in samples of the call's clock, 24,000 a second, from the first frame of the microphone.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadtest.voiced import Pcm

RATE_HZ = 24_000
"""The rate of the Realtime protocol's PCM, in both directions."""

LIMIT_S = 30 * 60
"""Longer calls keep only their first half hour, so that a forgotten one does not fill the memory (86 MB a side), where
nothing else is said."""


class Track:
    """One side of a call. What was never written is silence."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self._samples: Pcm = np.zeros(60 * RATE_HZ, np.int16)
        self._limit = round(limit_s * RATE_HZ)
        self.end = 0

    def write(self, first_sample: int, pcm: Pcm) -> None:
        if first_sample >= self._limit:
            return
        pcm = pcm[: self._limit - first_sample]
        end = first_sample + len(pcm)
        while end > len(self._samples):
            self._samples = np.concatenate((self._samples, np.zeros_like(self._samples)))
        self._samples[first_sample:end] = pcm
        self.end = max(self.end, end)

    def cut(self, from_sample: int) -> None:
        """Silence from here on."""
        self._samples[from_sample : self.end] = 0
        self.end = min(self.end, from_sample)

    def read(self, first_sample: int = 0, end_sample: int | None = None) -> Pcm:
        """int16[end_sample - first_sample], a copy; everything up to the end by default."""
        end = self.end if end_sample is None else end_sample
        pcm = self._samples[first_sample:end].copy()
        return np.pad(pcm, (0, max(0, end - first_sample - len(pcm))))


class Recording:
    """The caller, and what the caller would have heard."""

    def __init__(self, limit_s: float = LIMIT_S) -> None:
        self.caller = Track(limit_s)
        self.agent = Track(limit_s)

    def stereo(self) -> NDArray[np.int16]:
        """int16[n, 2] at 24 kHz: left the caller, right the agent."""
        end = max(self.caller.end, self.agent.end)
        return np.stack((self.caller.read(0, end), self.agent.read(0, end)), axis=1)


@dataclass(frozen=True, slots=True)
class Cut:
    """An item of an answer that was stopped while it sounded, or before. `heard_ms` of it had been played."""

    item_id: str
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Gap:
    """An item's sound had all been played before more of it came, at sample `at`: so many `samples` of silence."""

    item_id: str
    at: int
    samples: int


GAPS_KEPT = 10_000


@dataclass(slots=True)
class _Piece:
    item_id: str
    first_sample: int
    end_sample: int


class Player:
    """Plays as a client does: audio arrives faster than real time, waits its turn, and sounds by the player's clock.

    It makes no sound itself; it works out when each sample would have sounded, and writes that into a track.
    """

    def __init__(self, track: Track) -> None:
        self._track = track
        self._pieces: list[_Piece] = []
        self._sounding = ""
        self.ends_at = 0
        self.gaps: deque[Gap] = deque(maxlen=GAPS_KEPT)

    def receive(self, now: int, item_id: str, pcm: Pcm) -> int:
        """Audio that arrives at `now` sounds at once, or after what still waits. Returns its first sample's time."""
        first = max(now, self.ends_at)
        if item_id == self._sounding and first > self.ends_at:
            self.gaps.append(Gap(item_id, first, first - self.ends_at))
        self._sounding = item_id
        self.ends_at = first + len(pcm)
        self._pieces.append(_Piece(item_id, first, self.ends_at))
        self._track.write(first, pcm)
        return first

    def stop(self, now: int) -> list[Cut]:
        """Fall silent at `now`. Returns the items that the caller will not hear to the end."""
        unheard = dict.fromkeys(piece.item_id for piece in self._pieces if piece.end_sample > now)
        cuts = [Cut(item_id, self._heard(item_id, now) * 1000 // RATE_HZ) for item_id in unheard]
        self._track.cut(now)
        self.ends_at = min(self.ends_at, now)
        self._pieces.clear()
        self._sounding = ""
        return cuts

    def _heard(self, item_id: str, now: int) -> int:
        mine = (piece for piece in self._pieces if piece.item_id == item_id)
        return sum(max(0, min(piece.end_sample, now) - piece.first_sample) for piece in mine)
