"""Where a voice begins and ends in a recording, by its energy against the recording's own floor.

The rule, the same for both sides of a call:

1. The level of each window of 10 ms is its mean square in dB of full scale. Windows of nothing but zeros (a muted
   microphone, a gap in playing) do not count for what follows.
2. The floor is the level that a tenth of the windows stay below, the speech the level that a twentieth exceed.
3. A window is voiced when its level is at least 8 dB above the floor, but no threshold lies more than 30 dB below the
   speech (a silent studio's breathing is no voice) or less than 6 dB below it (in loud noise there is still a voice).
4. Runs of fewer than 3 voiced windows are clicks. A recording whose speech is below -55 dB has no voice in it.
5. Within the first and the last voiced window, the sample is the first or last whose amplitude reaches the threshold.
"""

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
"""int16[n], mono."""

WINDOW_MS = 10
SHORTEST_RUN = 3  # windows
ABOVE_FLOOR_DB, BELOW_SPEECH_DB, HEADROOM_DB = 8.0, 30.0, 6.0
QUIETEST_SPEECH_DB = -55.0


def voiced_span(pcm: Pcm, rate_hz: int) -> tuple[int, int] | None:
    """int16[n] -> (first, last) voiced sample, both inclusive; None when there is no voice."""
    stretches = voiced_stretches(pcm, rate_hz)
    return (stretches[0][0], stretches[-1][1]) if stretches else None


def voiced_stretches(pcm: Pcm, rate_hz: int) -> list[tuple[int, int]]:
    """int16[n] -> (first, last) voiced sample, both inclusive, of every run of voiced windows."""
    size = rate_hz * WINDOW_MS // 1000
    levels = _levels(pcm, size)
    threshold = _threshold(levels)
    if threshold is None:
        return []
    amplitude = 32768.0 * 10 ** (threshold / 20)
    runs = _runs(_without_clicks(levels >= threshold))
    return [
        (_reached(pcm, start, size, amplitude)[0], _reached(pcm, end - 1, size, amplitude)[-1]) for start, end in runs
    ]


def _reached(pcm: Pcm, window: int, size: int, amplitude: float) -> list[int]:
    """The samples of a window that are as loud as that."""
    first = window * size
    loud = np.abs(pcm[first : first + size].astype(np.int32)) >= amplitude
    return [first + int(at) for at in np.flatnonzero(loud)]


def _levels(pcm: Pcm, size: int) -> NDArray[np.float64]:
    """Level of each whole window in dB of full scale; -inf for nothing but zeros."""
    windows = pcm[: len(pcm) // size * size].reshape(-1, size).astype(np.float64) / 32768.0
    with np.errstate(divide="ignore"):
        levels: NDArray[np.float64] = 10 * np.log10(np.mean(windows**2, axis=1))
    return levels


def _threshold(levels: NDArray[np.float64]) -> float | None:
    sounding = levels[np.isfinite(levels)]
    if not len(sounding):
        return None
    floor, speech = np.percentile(sounding, (10, 95))
    if speech < QUIETEST_SPEECH_DB:
        return None
    return float(np.clip(floor + ABOVE_FLOOR_DB, speech - BELOW_SPEECH_DB, speech - HEADROOM_DB))


def _without_clicks(voiced: NDArray[np.bool_]) -> NDArray[np.bool_]:
    for start, end in _runs(voiced):
        if end - start < SHORTEST_RUN:
            voiced[start:end] = False
    return voiced


def _runs(voiced: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """(first, end) of every run of voiced windows."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], voiced, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]
