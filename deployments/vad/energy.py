"""Voice activity by loudness alone: for running without a model, not for noisy rooms."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.vad.options import VadOptions

WINDOW_SAMPLES = 512

# The background is the quietest sound of late: it follows a quieter window at once, a louder one slowly, and one that
# counts as voiced so slowly that a minute of unbroken speech or tones stays voiced (a new noise is learnt in the end).
_RISE_DB, _VOICED_RISE_DB = 0.2, 0.01  # per window of 32 ms: 6 and 0.3 dB a second
_STEEPNESS = 1.5  # per dB: from .05 to .95 within 4 dB
_SILENCE = 1e-9  # power: -90 dBFS, what the last bit of 16 makes


@dataclass(slots=True)
class _Background:
    """Of one call."""

    dbfs: float


class EnergyVad:
    """A window is voiced when it is `margin_db` louder than the call's background, and not very quiet."""

    window_samples = WINDOW_SAMPLES

    def __init__(self, options: VadOptions) -> None:
        self._margin_db = options.margin_db
        self._quietest_dbfs = options.quietest_dbfs

    def new_state(self) -> _Background:
        return _Background(self._quietest_dbfs - self._margin_db)

    def probabilities(self, windows: NDArray[np.float32], states: Sequence[object]) -> NDArray[np.float32]:
        """float32[n, 512] in [-1, 1] -> float32[n]."""
        powers = np.einsum("ij,ij->i", windows, windows) / windows.shape[1]
        levels_dbfs = 10 * np.log10(np.maximum(powers, _SILENCE))
        pairs = zip(levels_dbfs, states, strict=True)
        return np.array([self._heard(float(dbfs), state) for dbfs, state in pairs], np.float32)

    def _heard(self, dbfs: float, background: object) -> float:
        assert isinstance(background, _Background)
        threshold_dbfs = max(background.dbfs + self._margin_db, self._quietest_dbfs)
        voiced = dbfs >= threshold_dbfs
        background.dbfs = min(dbfs, background.dbfs + (_VOICED_RISE_DB if voiced else _RISE_DB))
        return 1 / (1 + float(np.exp(-_STEEPNESS * (dbfs - threshold_dbfs))))
