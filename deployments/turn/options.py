"""The `turn` section of the YAML."""

from typing import Literal

from pydantic import Field

from deployments.options import ModelOptions, Timing


class TurnOptions(ModelOptions):
    """Turn detection by sound. How its probability is used, `call.turn_taking` says."""

    engine: Literal["smart_turn", "synthetic"] = Field(
        "smart_turn",
        description="`smart_turn`: Smart Turn 3 by ONNX Runtime. `synthetic`: reads tones, needs no model.",
    )
    threads: int = Field(1, ge=1, le=64, description="Threads of one judgement; more take cores from ASR and LLM.")
    workers: int = Field(1, ge=1, le=64, description="Judgements at once; more wait, the most urgent first.")
    niceness: int = Field(
        5,
        ge=0,
        le=19,
        description="How far its threads stand back for others on a busy Linux machine: the transcript is more urgent.",
    )
    timing: Timing = Field(Timing(), description="How long the synthetic engine takes; an answer is one item.")

    @property
    def places(self) -> int:
        """Requests that the engine works on at once."""
        return min(self.max_streams, self.timing.concurrency if self.engine == "synthetic" else self.workers)
