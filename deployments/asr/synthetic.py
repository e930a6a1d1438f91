"""An ASR that needs no model: it really hears, but only the tones of the synthetic TTS."""

import numpy as np

from deployments.asr.options import AsrOptions
from deployments.audio import duration_ms
from deployments.contracts import SPEECH_RATE_HZ, Capabilities, ModelFiles, Pcm, Transcript
from deployments.synthetic import Clockwork
from deployments.tones import decode

_AUDIBLE = 327  # of 32768: -40 dBFS, well above the hiss of a quiet line


class SyntheticAsr:
    """Tones are read back as text; other sound becomes "sound of 2.1 seconds", and silence the empty text."""

    def __init__(self, options: AsrOptions) -> None:
        self._language = options.language or "en"
        self._clockwork = Clockwork(options.timing)

    @classmethod
    def load(cls, files: ModelFiles | None, options: AsrOptions) -> "SyntheticAsr":
        """`files` is not looked at: there are no weights."""
        return cls(options)

    def capabilities(self) -> Capabilities:
        return Capabilities(rate_hz=SPEECH_RATE_HZ)

    async def unload(self) -> None:
        """Nothing was loaded."""

    async def transcribe(
        self, audio: Pcm, *, language: str | None = None, hint: str = "", hasty: bool = False
    ) -> Transcript:
        """Takes `first_item_ms`, and 1 / `items_per_s` for each second of audio."""
        async with self._clockwork.request():
            await self._clockwork.first_item()
            await self._clockwork.items(len(audio) / SPEECH_RATE_HZ)
        text = _heard(audio)
        return Transcript(
            text=text,
            words=(),
            no_speech_probability=0.0 if text else 1.0,
            audio_ms=duration_ms(audio, SPEECH_RATE_HZ),
            language=language or self._language,
        )


def _heard(audio: Pcm) -> str:
    loud = np.flatnonzero(np.abs(audio.astype(np.int32)) >= _AUDIBLE)
    if not len(loud):
        return ""
    seconds = (loud[-1] - loud[0] + 1) / SPEECH_RATE_HZ
    return decode(audio) or f"sound of {seconds:.1f} seconds"
