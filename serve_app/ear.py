"""A call's ear: the caller's audio goes in, facts about speech come out, and what was heard is remembered."""

from collections.abc import AsyncIterator

from deployments.contracts import SPEECH_RATE_HZ, Pcm
from serve_app.call_options import ListeningOptions
from serve_app.conversation.items import ServerVad, TurnDetection
from serve_app.conversation.listening import AudioMemory, Fact, Hearing, Windows, level_dbfs, samples
from serve_app.conversation.timeline import now_s
from serve_app.conversation.vad_batch import BatchedVoiceActivity

IDLE_MEMORY_S = 10
"""Kept while nobody speaks: more than any prefix padding, little enough for many silent calls."""


class Ear:
    """Hears one caller. While `detection` is None it only remembers: the caller's side says when a turn is over."""

    def __init__(self, vad: BatchedVoiceActivity, options: ListeningOptions, detection: TurnDetection) -> None:
        self._vad = vad
        self._options = options
        self.memory = AudioMemory(samples(options.max_turn_s * 1000))
        self._arrived_s, self._arrived_sample = now_s(), 0
        self._deaf = True
        self.hearing = self._new_hearing(options)
        self.attend(detection)

    def attend(self, detection: TurnDetection) -> None:
        """Listen as this turn detection asks."""
        options = self._options
        if isinstance(detection, ServerVad):
            lower = options.release_probability / options.onset_probability if options.onset_probability else 1.0
            options = options.model_copy(
                update={
                    "onset_probability": detection.threshold,
                    "release_probability": detection.threshold * lower,
                    "prefix_padding_ms": detection.prefix_padding_ms,
                }
            )
        self.prefix_samples = samples(options.prefix_padding_ms)
        if detection is not None and self._deaf:
            self.hearing = self._new_hearing(options)
        self.hearing.onset, self.hearing.release = options.onset_probability, options.release_probability
        self._deaf = detection is None

    @property
    def window_samples(self) -> int:
        """Of the voice detector, which hears so many at once."""
        return self._vad.model.window_samples

    def _new_hearing(self, options: ListeningOptions) -> Hearing:
        window = self._vad.model.window_samples
        self._windows, self._state = Windows(window), self._vad.model.new_state()
        return Hearing(
            onset=options.onset_probability,
            release=options.release_probability,
            onset_windows=options.onset_windows,
            pause_ms=options.pause_ms,
            window_samples=window,
            next_sample=self.memory.next_sample,
        )

    async def hear(self, pcm: Pcm) -> AsyncIterator[Fact | None]:
        """int16[n] at 16 kHz. Yields once a window: what follows from it, or None."""
        self._arrived_s, self._arrived_sample = now_s(), self.memory.next_sample + len(pcm)
        step = self._vad.model.window_samples
        for first in range(0, len(pcm), step):  # a turn that ends within a long chunk does not take the rest along
            piece = pcm[first : first + step]
            self.memory.push(piece)
            for window in () if self._deaf else self._windows.push(piece):
                probability = await self._vad.probability(window, self._state)
                yield self.hearing.push(probability, level_dbfs(window))

    def forget_idle_audio(self) -> None:
        """Nobody speaks: keep only the last seconds."""
        self.memory.forget_before(self.memory.next_sample - IDLE_MEMORY_S * SPEECH_RATE_HZ)

    def time_s(self, sample: int) -> float:
        """When this sample of the caller's arrived, taking the last chunk to have come in real time."""
        return self._arrived_s - (self._arrived_sample - sample) / SPEECH_RATE_HZ
