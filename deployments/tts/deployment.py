"""Text to speech behind a Serve handle."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Any

from deployments.backlog import text_units
from deployments.base import ModelDeployment, engine_class
from deployments.contracts import AudioChunk, Capabilities
from deployments.errors import BadModel, BadRequest
from deployments.options import LogOptions
from deployments.residency_status import ModelStatus
from deployments.status import Order
from deployments.store import ModelSpec, Store, StoreOptions
from deployments.tts.options import TtsOptions
from deployments.tts.voices import TtsEngine, VoiceModels
from deployments.urgency import Urgency

__all__ = ["TtsDeployment", "TtsEngine", "check"]

SLOWEST, FASTEST = 0.25, 4.0  # the range of OpenAI's speech call
SPARE_S = 0.5
"""Of a phrase so much of which is made, the rest can wait for the first of another."""
_NAMED = 12  # voices that an error lists: a model may have hundreds


class TtsDeployment(ModelDeployment[TtsEngine]):
    """One voice model that is always loaded, and any number that are loaded by use; `contracts.Tts`, remotely."""

    engines: Mapping[str, str] = {
        "piper": "deployments.tts.piper:PiperTts",
        "synthetic": "deployments.tts.synthetic:SyntheticTts",
    }
    options: TtsOptions

    def __init__(
        self,
        options: TtsOptions,
        model: ModelSpec | None,
        store: StoreOptions,
        logs: LogOptions | None = None,
        more_models: Mapping[str, ModelSpec] = {},
    ) -> None:
        """`more_models`: those of the options that have weights, by id. Raises BadModel for one that cannot be had."""
        super().__init__(options, model, store, logs)
        specs = dict(more_models) if model is None else {**more_models, options.model: model}
        engine = engine_class(self.engines, options.engine)
        self._voices = VoiceModels(engine, self.engine, options, specs, Store(store))
        named = (*options.voices.values(), *(() if options.voice is None else (options.voice,)))
        for voice in named:
            try:
                check("", voice, 1.0, options, self._voices.names)
            except BadRequest as unknown:
                raise BadModel(f"the settings name a voice that is not there: {unknown}") from unknown

    async def capabilities(self) -> Capabilities:
        """The default model's, with the voices of all of them and their further names."""
        own = await super().capabilities()
        return replace(own, voices=(*self.options.voices, *self._voices.names))

    def known_models(self) -> tuple[str, ...]:
        return (self.options.model, *self.options.more_models)

    def models(self) -> tuple[ModelStatus, ...]:
        return self._voices.models()

    async def carry_out(self, order: Order, model: str, wait_s: float) -> None:
        await self._voices.carry_out(order, model, wait_s)

    async def record_routing_stats(self) -> dict[str, Any]:
        """With the models in memory, and what they are called here. On the loop, like all that looks at them."""
        told = await super().record_routing_stats() | self._voices.routing_stats()
        there = {*told["resident"], *told["arriving"]}
        models = {name: self._voices.model_of(voice) for name, voice in self.options.voices.items()}
        names = [name for name, model in models.items() if model in there]
        pinned = [name for name in names if models[name] in told["pinned"]]
        return {**told, "names": names, "pinned": [*told["pinned"], *pinned]}

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0, urgency: Urgency | None = None
    ) -> AsyncGenerator[AudioChunk, None]:
        """`contracts.Tts.speak`. Text with nothing to say in it yields nothing.

        Raises as `check` does, as `Residency.use` where the voice's model is not in memory, and as
        `DeviceQueue.place`.
        """
        known = check(text, voice, speed, self.options, self._voices.names)
        async with self._voices.use(known) as engine, self.place(urgency, units=text_units(text)) as place:
            chunks = self.within_deadline(engine.speak(text, voice=known, speed=speed))
            made_s = 0.0
            try:
                async for chunk in chunks:
                    yield chunk
                    made_s += len(chunk.pcm) / chunk.rate_hz
                    if made_s > SPARE_S and not chunk.last:
                        await place.give_way()
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
