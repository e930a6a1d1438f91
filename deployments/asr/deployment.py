"""The ASR deployment: an engine that writes down what was said."""

from collections.abc import Mapping
from typing import Protocol

from deployments.asr.options import AsrOptions
from deployments.backlog import audio_units
from deployments.base import ModelDeployment
from deployments.contracts import Asr, Engine, Pcm, Transcript
from deployments.guard import answering, check_speech
from deployments.urgency import Urgency


class AsrEngine(Asr, Engine, Protocol):
    """What an ASR engine is."""


class AsrDeployment(ModelDeployment[AsrEngine]):
    """Speech to text, the whole utterance each time: no state between requests."""

    engines: Mapping[str, str] = {
        "faster_whisper": "deployments.asr.faster_whisper:FasterWhisper",
        "synthetic": "deployments.asr.synthetic:SyntheticAsr",
    }
    options: AsrOptions

    async def transcribe(
        self,
        audio: Pcm,
        *,
        language: str | None = None,
        hint: str = "",
        hasty: bool = False,
        urgency: Urgency | None = None,
    ) -> Transcript:
        """`audio`: int16[n] at 16 kHz, at most `longest_s`. `hint`: text that came before, to help with names.

        Raises BadRequest for audio of another kind or a language that the model does not know, AtCapacity as
        `DeviceQueue.place` does, ModelFailed when the model breaks or takes longer than `deadline_s`.
        """
        check_speech(audio, self.options.longest_s)
        place = self.place(urgency, units=audio_units(audio))
        async with place, answering(self.options.model, self.options.deadline_s):
            return await self.engine.transcribe(audio, language=language, hint=hint, hasty=hasty)
