"""Frames -> voiced or not -> speech and pauses. Pure: it counts samples and knows no other clock."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.audio import to_float
from deployments.contracts import SPEECH_RATE_HZ, Pcm

FIRST_ROOM = 2 * SPEECH_RATE_HZ
"""Samples that a call has memory for at first."""

FAINT_DB = 30.0
"""A window that is so much fainter than the voice is silence, whatever the detector says: Silero believes in a voice
for 50 to 100 ms after its last sound. Within words that happens about once a second, before a t or a k."""

FADE_DB = 0.1
"""So much the voice's level falls with each window, 3 dB a second: people turn away."""


@dataclass(frozen=True, slots=True)
class VoiceStarted:
    """Speech began at `first_sample` of the call's input clock."""

    first_sample: int


@dataclass(frozen=True, slots=True)
class VoicePaused:
    """The caller has been silent since `last_voiced_sample`."""

    last_voiced_sample: int


@dataclass(frozen=True, slots=True)
class VoiceResumed:
    first_sample: int


Fact = VoiceStarted | VoicePaused | VoiceResumed


def samples(ms: float) -> int:
    """Milliseconds -> samples at 16 kHz."""
    return round(ms * SPEECH_RATE_HZ / 1000)


def milliseconds(count: int) -> int:
    """Samples at 16 kHz -> whole milliseconds."""
    return round(count * 1000 / SPEECH_RATE_HZ)


def level_dbfs(sound: NDArray[np.float32]) -> float:
    """float32[n] in [-1, 1) -> its mean square in dB of full scale; -90 for silence."""
    power = float(np.dot(sound, sound)) / len(sound) if len(sound) else 0.0
    return 10 * math.log10(max(power, 1e-9))


class Hearing:
    """From the probability of voice in each window to facts about speech.

    Onset and release have different thresholds, and an onset needs several windows in a row: one loud window is a
    click. Samples are counted from the start of the call.
    """

    def __init__(
        self,
        *,
        onset: float,
        release: float,
        onset_windows: int,
        pause_ms: int,
        window_samples: int,
        next_sample: int = 0,
    ) -> None:
        self.onset = onset
        self.release = release
        self.onset_windows = onset_windows
        self._pause_samples = samples(pause_ms)
        self._window = window_samples
        self._run = 0
        self._speaking = False  # between VoiceStarted and `end_of_speech`
        self._paused = False
        self.next_sample = next_sample
        self.last_voiced_sample = next_sample
        self.last_loud_sample = next_sample
        """The end of the last voiced window that was not faint."""
        self._voice_db = -math.inf
        self.voiced_samples = 0
        """Voiced samples since the last VoiceStarted."""
        self.probability = 0.0
        """Of voice in the last window."""

    def push(self, probability: float, level_db: float = math.inf) -> Fact | None:
        """One more window was heard, so loud (dB of full scale); at most one fact follows from it."""
        first = self.next_sample
        self.next_sample += self._window
        self.probability = probability
        continues = self._speaking and not self._paused
        if probability >= (self.release if continues else self.onset):
            self._voice_db = max(self._voice_db - FADE_DB, level_db)
            return self._voiced(first, is_loud=level_db >= self._voice_db - FAINT_DB)
        self._run = 0
        if continues and self.next_sample - self.last_voiced_sample >= self._pause_samples:
            self._paused = True
            return VoicePaused(self.last_voiced_sample)
        return None

    def _voiced(self, first: int, *, is_loud: bool) -> Fact | None:
        self._run += 1
        self.voiced_samples += self._window
        if self._speaking and not self._paused:
            self.last_voiced_sample = self.next_sample
            if is_loud:
                self.last_loud_sample = self.next_sample
            return None
        if self._run < self.onset_windows:
            return None
        started = first - (self._run - 1) * self._window
        self.last_voiced_sample = self.last_loud_sample = self.next_sample
        if self._speaking:
            self._paused = False
            return VoiceResumed(started)
        self._speaking = True
        self.voiced_samples = self._run * self._window
        return VoiceStarted(started)

    def end_of_speech(self) -> None:
        """The speech so far is dealt with: the next voice is a new start."""
        self._speaking = self._paused = False
        self._run = 0

    @property
    def pause_ms(self) -> int:
        """Silence that makes a pause."""
        return milliseconds(self._pause_samples)

    @property
    def paused(self) -> bool:
        """Speech has begun, and is in a pause now."""
        return self._speaking and self._paused

    @property
    def silence_ms(self) -> int:
        """Since the last voiced sample."""
        return milliseconds(self.next_sample - self.last_voiced_sample)

    @property
    def faint_ms(self) -> int:
        """Since the voice was last loud: this grows sooner than `silence_ms`, and within words as well."""
        return milliseconds(self.next_sample - self.last_loud_sample)

    @property
    def voiced_ms(self) -> int:
        """Voice heard since speech started, pauses left out."""
        return milliseconds(self.voiced_samples)


class AudioMemory:
    """The caller's recent audio, addressed by the call's input clock. The oldest is forgotten beyond the limit.

    It lies in one piece, so that to look at a part of it costs the same however much there is.
    """

    def __init__(self, limit_samples: int) -> None:
        self._limit = limit_samples
        self._kept: Pcm = np.empty(FIRST_ROOM, np.int16)
        self._begin = self._end = 0  # what is known lies here
        self.next_sample = 0

    @property
    def first_sample(self) -> int:
        """The oldest that is known."""
        return self.next_sample - (self._end - self._begin)

    def push(self, pcm: Pcm) -> None:
        if self._end + len(pcm) > len(self._kept):
            self._make_room(len(pcm))
        self._kept[self._end : self._end + len(pcm)] = pcm
        self._end += len(pcm)
        self.next_sample += len(pcm)
        self.forget_before(self.next_sample - self._limit)

    def forget_before(self, sample: int) -> None:
        """What came before `sample` is dropped."""
        self._begin += min(max(sample - self.first_sample, 0), self._end - self._begin)

    def between(self, first: int, end: int) -> Pcm:
        """What is still known of samples [first, end): int16[n], a copy."""
        first, end = max(first, self.first_sample), min(end, self.next_sample)
        if end <= first:
            return np.zeros(0, np.int16)
        start = self._begin - self.first_sample
        return self._kept[start + first : start + end].copy()

    def _make_room(self, wanted: int) -> None:
        """Move what is known to the front; of a place that is more than half full, to one of twice its size."""
        known = self._kept[self._begin : self._end]
        size = len(self._kept)
        while size < 2 * (len(known) + wanted):
            size *= 2
        room = self._kept if size == len(self._kept) else np.empty(size, np.int16)
        room[: len(known)] = known.copy()
        self._kept, self._begin, self._end = room, 0, len(known)


class Windows:
    """Cuts a stream of any chunk lengths into the windows of the voice detector."""

    def __init__(self, window_samples: int) -> None:
        self._window: Pcm = np.zeros(window_samples, np.int16)
        self._filled = 0

    def push(self, pcm: Pcm) -> list[NDArray[np.float32]]:
        """int16[n] -> the windows that are complete now, float32 in [-1, 1). Copies, so that they may be batched."""
        complete = []
        taken, size = 0, len(self._window)
        while taken < len(pcm):
            end = min(len(pcm), taken + size - self._filled)
            filled = self._filled + end - taken
            self._window[self._filled : filled] = pcm[taken:end]
            taken, self._filled = end, filled % size
            if filled == size:
                complete.append(to_float(self._window))
        return complete
