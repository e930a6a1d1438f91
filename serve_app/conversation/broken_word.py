"""Where an agent goes on that fell silent in the middle of a word: with that word, and without the silence before it.

Voices made from text have no noise: between words they are quieter than in them by far, and between phrases silent.
"""

import numpy as np
from numpy.typing import NDArray

from deployments.contracts import Pcm

BLOCK_MS = 10
QUIET_RMS = 160.0
"""-46 dBFS: a breath. Voices speak at -20."""
QUIET_PEAK = 230
"""What a tone of that level reaches."""
QUIET_SHARE = 0.08
"""Of the loud part's level: what is quieter is the gap between two words."""
GAP_BLOCKS = 3
"""Less quiet than this is a consonant."""
ENDED_BLOCKS = 4
"""After so much quiet no word is broken."""
LEAD_MS = 20
"""Of quiet left before a word: its first consonant may be as quiet."""


def broken_word_samples(heard: Pcm, rate_hz: int) -> int:
    """How many of the last samples to say again. `heard`: int16[n], what sounded last, half a second or so.

    It is said again from the longest gap between words. In speech without a gap, from where it is quietest."""
    levels = _levels(heard, rate_hz)
    if not len(levels):
        return 0
    quiet = levels < max(QUIET_RMS, QUIET_SHARE * float(np.quantile(levels, 0.9)))
    if quiet[-ENDED_BLOCKS:].all():
        return 0
    ends = _ends_of_gaps(quiet)
    if ends:
        start = max(ends, key=lambda end: (ends[end], end))
    else:
        start = int(np.argmin(levels[: max(1, len(levels) - 2 * ENDED_BLOCKS)]))
    blocks = len(levels) - start
    return min(len(heard), blocks * _block(rate_hz) + LEAD_MS * rate_hz // 1000)


def quiet_samples(pcm: Pcm, rate_hz: int) -> int:
    """How many of its first samples are silence that may be left out before a word; int16[n]. All of them, where no
    word follows."""
    loud = np.flatnonzero((pcm >= QUIET_PEAK) | (pcm <= -QUIET_PEAK))
    return max(0, int(loud[0]) - LEAD_MS * rate_hz // 1000) if len(loud) else len(pcm)


def _block(rate_hz: int) -> int:
    return rate_hz * BLOCK_MS // 1000


def _levels(pcm: Pcm, rate_hz: int) -> NDArray[np.float64]:
    """RMS of each whole block, the last one at the end."""
    block = _block(rate_hz)
    whole = pcm[len(pcm) % block :].astype(np.float64).reshape(-1, block)
    levels: NDArray[np.float64] = np.sqrt(np.mean(whole**2, axis=1))
    return levels


def _ends_of_gaps(quiet: NDArray[np.bool_]) -> dict[int, int]:
    """The first loud block after each gap -> how many blocks the gap has."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    gaps = zip(edges[::2], edges[1::2], strict=True)
    return {int(end): int(end - start) for start, end in gaps if end - start >= GAP_BLOCKS and end < len(quiet)}
