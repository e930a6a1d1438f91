"""The TTS section of the YAML."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from deployments.options import ModelOptions, ResidencyOptions, Timing


class TtsOptions(ModelOptions):
    """A text-to-speech model and how it speaks."""

    engine: Literal["piper", "synthetic"] = Field(
        "piper", description="What runs the model; synthetic speaks in tones and needs no weights."
    )
    more_models: tuple[str, ...] = Field(
        (),
        description="Further models of this engine, for callers who ask for their voices: loaded when they are needed. "
        "The one in `model` is always loaded.",
    )
    preload: tuple[str, ...] = Field(
        (),
        description="Those of more_models that are loaded before the replica takes its first request; what nobody uses "
        "leaves memory as any other.",
    )
    residency: ResidencyOptions = Field(
        default_factory=ResidencyOptions, description="Which of several models a replica keeps in memory."
    )
    voice: str | None = Field(
        None, description="Voice of callers that ask for none: MODEL, or MODEL/SPEAKER. Unset: the model's first."
    )
    voices: Mapping[str, str] = Field(
        default_factory=dict, description="Further names for voices, such as `alloy: MODEL`, that clients may use."
    )
    threads: int = Field(
        2, ge=1, le=64, description="Threads for one piece of speech: two make a short phrase a third faster than one."
    )
    concurrency: int = Field(
        2,
        ge=1,
        le=64,
        description="Phrases that a replica makes into sound at once; more wait, the most urgent first.",
    )
    lead_ms: float = Field(
        5.0, ge=0, le=500, description="Silence left before a phrase; the 30-70 ms that models make are cut to this."
    )
    variation: float = Field(
        1.0, ge=0, le=2, description="How much the model varies what it says, 0 (always the same) to 1 (as trained)."
    )
    max_characters: int = Field(
        4096, ge=1, description="The longest text of one request, as in OpenAI's speech call; more is refused."
    )
    timing: Timing = Field(
        default_factory=Timing, description="Of the synthetic engine. An item is one second of audio."
    )

    @property
    def places(self) -> int:
        """Requests that the engine works on at once."""
        return min(self.max_streams, self.timing.concurrency if self.engine == "synthetic" else self.concurrency)

    @model_validator(mode="after")
    def _have_room(self) -> "TtsOptions":
        if len({self.model, *self.more_models}) <= len(self.more_models):
            raise ValueError("more_models names a model twice, or the one in model")
        if self.more_models and self.residency.resident_cap < 2:
            raise ValueError("residency.resident_cap must be 2 or more: the model in model is always in memory")
        if unknown := set(self.preload) - set(self.more_models):
            raise ValueError(f"preload names what is not in more_models: {', '.join(sorted(unknown))}")
        if len(set(self.preload)) >= self.residency.resident_cap:
            raise ValueError("preload has more models than residency.resident_cap has room for beside the one in model")
        return self

    @property
    def drain_s(self) -> float:
        """A request may first wait for its voice's model."""
        return self.residency.wait_s + 2 * self.deadline_s
