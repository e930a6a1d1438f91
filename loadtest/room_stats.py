"""How well the agent's sound came to a caller in a room, as counted so far."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.room_caller import RoomCaller
from loadtest.room_sound import ROOM_RATE_HZ, Jitter


@dataclass(frozen=True, slots=True)
class Sound:
    """`concealed_ms` was made up because nothing had come, in `gaps` places; silence made up in silence is left out.
    `jitter_ms` is that of the network's packets, `buffered_ms` how long the receiver kept a sample to even it out."""

    frames: Jitter
    received: int
    lost: int
    concealed_ms: float
    gaps: int
    jitter_ms: float
    buffer_s: float  # summed over samples
    buffered: int  # samples

    def __sub__(self, before: "Sound") -> "Sound":
        """What came after `before`."""
        seen = len(before.frames.late_ms)
        return Sound(
            Jitter(self.frames.late_ms[seen:], self.frames.step_ms[max(0, seen - 1) :]),
            self.received - before.received,
            self.lost - before.lost,
            self.concealed_ms - before.concealed_ms,
            self.gaps - before.gaps,
            self.jitter_ms,
            self.buffer_s - before.buffer_s,
            self.buffered - before.buffered,
        )

    def as_message(self) -> dict[str, Any]:
        """JSON."""
        return {
            "late_ms": _rounded(self.frames.late_ms),
            "step_ms": _rounded(self.frames.step_ms),
            "packets": self.received,
            "lost": self.lost,
            "concealed_ms": round(self.concealed_ms, 1),
            "gaps": self.gaps,
            "jitter_ms": round(self.jitter_ms, 2),
            "buffered_ms": round(1000 * self.buffer_s / self.buffered, 1) if self.buffered else None,
        }


async def counted(caller: RoomCaller) -> Sound:
    """By the LiveKit library and by the caller's own ear, since the track came."""
    frames = caller.listener.jitter()
    for stats in await caller.stats():
        if not stats.HasField("inbound_rtp"):
            continue
        rtp, sound = stats.inbound_rtp.received, stats.inbound_rtp.inbound
        return Sound(
            frames,
            rtp.packets_received,
            rtp.packets_lost,
            1000 * (sound.concealed_samples - sound.silent_concealed_samples) / ROOM_RATE_HZ,
            sound.concealment_events,
            1000 * rtp.jitter,
            sound.jitter_buffer_delay,
            sound.jitter_buffer_emitted_count,
        )
    return Sound(frames, 0, 0, 0.0, 0, 0.0, 0.0, 0)


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 1) for value in values]
