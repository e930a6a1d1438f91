"""An answer's sound on its way to the caller, and how much of it they heard."""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from deployments.audio import Resampler, resample
from deployments.contracts import AudioChunk, Pcm
from serve_app.begun import SpokenPhrase
from serve_app.conversation.history import Spoken
from serve_app.conversation.items import MessageItem
from serve_app.stage import Stage

MS_PER_CHARACTER = 60
"""Speech makes about 16 letters a second: a phrase's length while its sound is still being made."""


class Mouth:
    """Speaks one answer: its phrases one after the other, and perhaps a filler before them.

    `on_first` is called when the first sound of the answer was given to the transport, `on_filling` when the filler's.
    """

    def __init__(
        self, stage: Stage, speed: float, on_first: Callable[[], None], on_filling: Callable[[], None]
    ) -> None:
        self.sounds = False
        """Some of the answer was given, or waits to be."""
        self._stage = stage
        self._speed = speed
        self._on_first = on_first
        self._on_filling = on_filling
        self._item: MessageItem | None = None
        self._given_samples = 0
        self._filler: MessageItem | None = None
        self._filler_samples = 0

    async def speak(self, item: MessageItem, part: SpokenPhrase, chunk: AudioChunk | None) -> None:
        """This phrase of the answer's message; `chunk` is the first of its sound."""
        self._item = item
        spoken = Spoken(part.phrase.text, len(part.phrase.spoken) * MS_PER_CHARACTER / self._speed)
        self._stage.history.speak(item, spoken)
        given_before, resampler = self._given_samples, None
        while chunk is not None:
            resampler = resampler or Resampler(chunk.rate_hz, self._stage.transport.rate_hz)
            await self._play(resampler.push(chunk.pcm), item)
            chunk = await part.chunks.get()
        if resampler is not None:
            await self._play(resampler.push(np.zeros(0, np.int16), last=True), item)
        spoken.duration_ms = self._milliseconds(self._given_samples - given_before)

    async def _play(self, pcm: Pcm, item: MessageItem) -> None:
        if not len(pcm):
            return
        first, self.sounds = not self.sounds, True
        await self._stage.outbox.play(pcm, item, self._on_first if first else None)
        self._given_samples += len(pcm)

    async def fill(self, item: MessageItem, sound: Sequence[AudioChunk]) -> None:
        """Before the answer sounds; in one piece, so that nothing of the answer comes in between."""
        rate_hz = self._stage.transport.rate_hz
        pcm = np.concatenate([resample(chunk.pcm, chunk.rate_hz, rate_hz) for chunk in sound])
        self._filler, self._filler_samples = item, len(pcm)
        self._stage.history.speak(item, Spoken(item.text, self._milliseconds(len(pcm))))
        await self._stage.outbox.play(pcm, item, self._on_filling)

    def cut(self) -> None:
        """Fall silent; the history keeps what was heard."""
        if self._filler is None and self._item is None:
            return
        waiting = self._stage.outbox.drop_sound()
        unplayed = self._stage.transport.stop_playing()
        self._stage.outbox.played.take_back(unplayed)
        heard = self._filler_samples + self._given_samples - waiting - unplayed
        if self._filler is not None and heard < self._filler_samples:
            self._cut(self._filler, heard)
        if self._item is not None:
            self._cut(self._item, heard - self._filler_samples)

    def _cut(self, item: MessageItem, heard: int) -> None:
        self._stage.history.cut(item, round(self._milliseconds(max(0, heard))))

    async def played_out(self) -> bool:
        """Wait until the caller's side has played what it was given. False: that was nothing."""
        transport, outbox = self._stage.transport, self._stage.outbox
        await outbox.sent()
        while left := transport.unplayed():
            await asyncio.sleep(left / transport.rate_hz)
            await outbox.sent()  # a pause meanwhile has taken some of it back
        return self._given_samples > 0

    def _milliseconds(self, count: int) -> float:
        return count * 1000 / self._stage.transport.rate_hz
