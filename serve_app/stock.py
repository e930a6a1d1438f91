"""Sentences that the agent says word for word, made into sound once for each voice and kept."""

import asyncio
import logging
from collections import OrderedDict

from deployments.contracts import AudioChunk, Tts
from deployments.errors import AntiphonError, BadRequest
from deployments.urgency import Priority, urgent
from serve_app.call_options import CallOptions

log = logging.getLogger("antiphon.call")

KEPT = 64
"""Sentences of voices and speeds that callers chose, about 8 MB; beyond it the longest unused is made anew."""

Key = tuple[str, str | None, float]
"""Text, voice (None: the default one) and speed."""


class Stock:
    """Of one process, for all its calls. Nobody who wants to speak waits for it: what is not there is not there."""

    def __init__(self, tts: Tts, options: CallOptions) -> None:
        self._tts = tts
        self._limit_s = options.deadlines.first_audio_s
        sentences = (options.sorry, options.filler, options.greeting, options.silence.still_there, options.goodbye)
        self._texts = tuple(dict.fromkeys(filter(None, sentences)))
        self._kept: OrderedDict[Key, tuple[AudioChunk, ...]] = OrderedDict()
        self._making: set[Key] = set()

    def sound(self, text: str, voice: str | None = None, speed: float = 1.0) -> tuple[AudioChunk, ...]:
        """The whole sentence; empty where it is not made yet, or has no sound."""
        key = (text, voice, speed)
        if key not in self._kept:
            return ()
        self._kept.move_to_end(key)
        return self._kept[key]

    def has(self, voice: str | None = None, speed: float = 1.0) -> bool:
        """Is every sentence made?"""
        return all((text, voice, speed) in self._kept for text in self._texts)

    async def make(self, voice: str | None = None, speed: float = 1.0) -> None:
        """Make what is missing of this voice, and is not being made. Raises AntiphonError or TimeoutError."""
        for text in self._texts:
            key = (text, voice, speed)
            if key in self._kept or key in self._making:
                continue
            self._making.add(key)
            try:
                async with asyncio.timeout(self._limit_s):
                    self._keep(key, await self._made(key))
            finally:
                self._making.discard(key)

    async def prepare(self, voice: str | None, speed: float) -> None:
        """`make`, for a call: it can do without."""
        try:
            await self.make(voice, speed)
        except (AntiphonError, TimeoutError) as failed:
            log.warning("the fixed sentences are not ready in this voice: %s", failed)

    async def _made(self, key: Key) -> tuple[AudioChunk, ...]:
        text, voice, speed = key
        with urgent(Priority.HOUSEKEEPING, self._limit_s):
            stream = self._tts.speak(text, voice=voice, speed=speed)
            try:
                return tuple([chunk async for chunk in stream])
            except BadRequest as wrong:  # it would be wrong again
                log.warning("the TTS refuses a fixed sentence: %s", wrong)
                return ()
            finally:
                await stream.aclose()

    def _keep(self, key: Key, sound: tuple[AudioChunk, ...]) -> None:
        self._kept[key] = sound
        chosen = [other for other in self._kept if other[1:] != (None, 1.0)]  # the default ones stay
        for other in chosen[: max(0, len(chosen) - KEPT)]:
            del self._kept[other]
