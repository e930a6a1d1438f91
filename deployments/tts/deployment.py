"""Text to speech behind a Serve handle."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Protocol

from deployments.base import ModelDeployment
from deployments.contracts import AudioChunk, Capabilities, Engine, Tts
from deployments.errors import BadRequest
from deployments.tts.options import TtsOptions

SLOWEST, FASTEST = 0.25, 4.0  # the range of OpenAI's speech call
_NAMED = 12  # voices that an error lists: a model may have hundreds


class TtsEngine(Tts, Engine, Protocol):
    """What a TTS engine has to offer. `speak` gets requests that `checked_voice` and the limits have passed."""


class TtsDeployment(ModelDeployment[TtsEngine]):
    """One voice model; `contracts.Tts`, remotely."""

    engines: Mapping[str, str] = {
        "piper": "deployments.tts.piper:PiperTts",
        "synthetic": "deployments.tts.synthetic:SyntheticTts",
    }
    options: TtsOptions

    async def capabilities(self) -> Capabilities:
        """The engine's, with the further names of its voices."""
        own = await super().capabilities()
        return replace(own, voices=(*self.options.voices, *own.voices))

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """`contracts.Tts.speak`. Text with nothing to say in it yields nothing; see `check` for the errors."""
        known = check(text, voice, speed, self.options, self.engine.capabilities().voices)
        chunks = self.within_deadline(self.engine.speak(text, voice=known, speed=speed))
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()


def check(text: str, voice: str | None, speed: float, options: TtsOptions, voices: tuple[str, ...]) -> str:
    """The voice to speak with. Raises BadRequest for a text, voice or speed that cannot be had."""
    if len(text) > options.max_characters:
        raise BadRequest(
            f"text has {len(text)} characters, more than {options.max_characters}", field="text", code="string_too_long"
        )
    if not SLOWEST <= speed <= FASTEST:
        raise BadRequest(f"speed {speed:g} is not between {SLOWEST:g} and {FASTEST:g}", field="speed")
    asked = voice or options.voice or voices[0]
    known = options.voices.get(asked, asked)
    if known not in voices:
        names = (*options.voices, *voices)
        listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
        raise BadRequest(f"voice {asked!r} is not known; there are {listed}", field="voice")
    return known
