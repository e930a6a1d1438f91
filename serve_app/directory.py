"""The model deployments of the system: what each can do, and which ones answer a call."""

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from deployments.contracts import Asr, AudioChunk, Capabilities, Pcm, Transcript, Tts
from deployments.errors import BadRequest
from deployments.store import Kind
from serve_app.choosing import Offer, Wishes, pick
from serve_app.conversation.items import CallSettings
from serve_app.models import Models, Promote

log = logging.getLogger("antiphon.models")


class Directory:
    """One for all calls of a process."""

    def __init__(
        self, models: Mapping[str, Any], kinds: Mapping[str, Kind], promote: Promote = lambda kind, call: None
    ) -> None:
        """`models`: by the names of their deployments, each of the contract of its kind; the default ones first, and
        at least one of each. `promote`: see `Models`."""
        self.kinds = dict(kinds)
        self._models = dict(models)
        self._promote = promote
        self._default = {kind: name for name, kind in reversed(self.kinds.items())}
        self._known: dict[str, Capabilities] = {}
        self._voices: dict[str, str] = {}
        self.tts = TtsByVoice(self)
        """Speaks every voice that there is; without one, the default model does."""

    # --- what there is

    def learn(self, name: str, capabilities: Capabilities) -> None:
        """What a deployment says that it can do. A voice that two have is the first one's."""
        self._known[name] = capabilities
        self._voices = {
            voice: each.name
            for each in reversed(self.offers())
            if each.kind == "tts"
            for voice in each.capabilities.voices
        }

    def knows(self, name: str) -> bool:
        """Has it said what it can do?"""
        return name in self._known

    def offers(self) -> list[Offer]:
        """Those that have said what they can do, the default ones first."""
        return [Offer(name, kind, self._known[name]) for name, kind in self.kinds.items() if name in self._known]

    @property
    def voices(self) -> tuple[str, ...]:
        """All that are known, the default one first."""
        listed = [voice for each in self.offers() if each.kind == "tts" for voice in each.capabilities.voices]
        return tuple(dict.fromkeys(listed))

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1 codes that the ASR models understand; empty: one of them does not say, and takes what it gets."""
        each = [offer.capabilities.languages for offer in self.offers() if offer.kind == "asr"]
        return () if not all(each) else tuple(dict.fromkeys(code for codes in each for code in codes))

    # --- for a call

    def settle(self, settings: CallSettings) -> CallSettings:
        """The same with the voice that its other wishes lead to. Raises BadRequest as `choosing.pick` does."""
        picked = pick(self.offers(), wishes_of(settings))
        tts = picked.get("tts")
        if settings.voice is not None or tts is None or tts.name == self._default["tts"]:
            return settings
        return replace(settings, voice=next(iter(tts.capabilities.voices), None))

    def models(self, settings: CallSettings) -> Models:
        """Those that answer a call with these settings. Raises BadRequest as `choosing.pick` does."""
        picked = {kind: offer.name for kind, offer in pick(self.offers(), wishes_of(settings)).items()}
        name = self._default | picked
        asr, llm, turn = AsrByLanguage(self, name["asr"]), self._models[name["llm"]], self._models[name["turn"]]
        return Models(asr, llm, self.tts, turn, self._promote)

    def tts_of(self, voice: str | None) -> Tts:
        """Who speaks with this voice. One that nobody knows is the default model's to refuse."""
        tts: Tts = self._models[self._voices.get(voice or "", self._default["tts"])]
        return tts

    def knows_voice(self, voice: str) -> bool:
        """Has somebody said that they can speak it?"""
        return voice in self._voices

    def asr_of(self, language: str | None, preferred: str) -> Asr:
        """Who understands this language: `preferred`, if that does."""
        offers = sorted((each for each in self.offers() if each.kind == "asr"), key=lambda each: each.name != preferred)
        asr: Asr = self._models[next((each.name for each in offers if each.speaks(language)), preferred)]
        return asr


def wishes_of(settings: CallSettings) -> Wishes:
    return Wishes(settings.language, settings.voice, settings.models, settings.needs)


@dataclass(frozen=True, slots=True)
class TtsByVoice:
    """`contracts.Tts` over all voice models: a caller's voice may change from one phrase to the next."""

    directory: Directory

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        """A voice that was there, and is no more since its model was replaced, is spoken by the default one: the call
        goes on."""
        try:
            async with aclosing(self.directory.tts_of(voice).speak(text, voice=voice, speed=speed)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        except BadRequest as refused:
            if refused.field != "voice" or voice is None or not self.directory.knows_voice(voice):
                raise
            log.warning("%s: the default voice speaks", refused)
        async with aclosing(self.directory.tts_of(None).speak(text, speed=speed)) as chunks:
            async for chunk in chunks:
                yield chunk


@dataclass(frozen=True, slots=True)
class AsrByLanguage:
    """`contracts.Asr` over all ASR models: a caller's language may change from one turn to the next."""

    directory: Directory
    preferred: str

    async def transcribe(
        self, audio: Pcm, *, language: str | None = None, hint: str = "", hasty: bool = False
    ) -> Transcript:
        model = self.directory.asr_of(language, self.preferred)
        return await model.transcribe(audio, language=language, hint=hint, hasty=hasty)
