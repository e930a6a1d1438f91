"""The TTS section of the YAML."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from deployments.options import ModelOptions, Timing


class TtsOptions(ModelOptions):
    """A text-to-speech model and how it speaks."""

    engine: Literal["piper", "synthetic"] = Field(
        "piper", description="What runs the model; synthetic speaks in tones and needs no weights."
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
        2, ge=1, le=64, description="Pieces of speech made at once; those of more streams wait in order of arrival."
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
