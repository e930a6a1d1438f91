"""The `vad` section of the YAML. Voice activity detection runs inside the ingress process, batched over its calls."""

from typing import Literal

from pydantic import Field, model_validator

from deployments.options import Options


class VadOptions(Options):
    """Which sound is a voice. From which probability on a window counts as voiced, `call.listening` says."""

    engine: Literal["silero", "energy"] = Field(
        "silero", description="`silero`: Silero VAD, a small neural net. `energy`: loudness alone, needs no model."
    )
    model: str | None = Field("silero-vad-v6", description="Id of a model in the catalogue; null for `energy`.")
    margin_db: float = Field(
        12.0, gt=0, le=60, description="energy: a window this much louder than the background is voiced."
    )
    quietest_dbfs: float = Field(
        -45.0,
        ge=-90,
        le=0,
        description="energy: what is quieter than this is never a voice, however quiet the background.",
    )

    @model_validator(mode="after")
    def _silero_needs_a_model(self) -> "VadOptions":
        if self.engine == "silero" and self.model is None:
            raise ValueError("engine silero needs a model")
        return self
