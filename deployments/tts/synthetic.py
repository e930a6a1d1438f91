"""A TTS that speaks in tones, without a model: what it says can be decoded again."""

import asyncio
from collections.abc import AsyncGenerator

from deployments import tones
from deployments.contracts import AudioChunk, Capabilities, ModelFiles
from deployments.synthetic import Clockwork
from deployments.tts.options import TtsOptions

RATE_HZ = 24_000
_CHUNK = RATE_HZ * tones.TONE_MS * 8 // 1000  # eight characters, .48 s: tones stay whole


class SyntheticTts:
    """`tones.encode` at 24 kHz, paced by the timing of its options: an item is one second of audio.

    One voice; `speed` is accepted and changes nothing, since tones of another length could not be decoded.
    """

    def __init__(self, options: TtsOptions) -> None:
        self._voice = options.model
        self._clock = Clockwork(options.timing)

    @classmethod
    def load(cls, files: ModelFiles | None, options: TtsOptions) -> "SyntheticTts":
        tones.decode(tones.encode("warm", RATE_HZ), RATE_HZ)
        return cls(options)

    @staticmethod
    def voices_of(files: ModelFiles | None, options: TtsOptions) -> tuple[str, ...]:
        return (options.model,)

    def capabilities(self) -> Capabilities:
        return Capabilities(voices=(self._voice,), rate_hz=RATE_HZ, streaming=True)

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """See `contracts.Tts`. Yields nothing where no character of `text` has a tone."""
        pcm = await asyncio.to_thread(tones.encode, text, RATE_HZ)
        if not len(pcm):
            return
        async with self._clock.request():
            await self._clock.first_item()
            for first in range(0, len(pcm), _CHUNK):
                if first:
                    await self._clock.items(_CHUNK / RATE_HZ)
                yield AudioChunk(pcm[first : first + _CHUNK], RATE_HZ, last=first + _CHUNK >= len(pcm))

    async def unload(self) -> None:
        """Nothing is held."""
