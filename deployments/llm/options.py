"""The language model's section of the YAML."""

from typing import Literal

from pydantic import Field, model_validator

from deployments.options import ModelOptions, Timing


class LlmOptions(ModelOptions):
    """One language model. The fields below `threads` are llama.cpp's; `timing` is the synthetic engine's."""

    engine: Literal["llama_cpp", "synthetic"] = Field("llama_cpp", description="The code that runs the model.")
    max_tokens: int = Field(
        256, ge=1, le=8192, description="The longest answer, in tokens; requests for more are cut to it."
    )
    sequence_penalty: float = Field(
        0.4,
        ge=0,
        le=5,
        description="Of llama.cpp, its DRY multiplier: how much less likely it becomes that two and more tokens go on "
        "as they did before, growing with how many they are. 0 is off: small models then say the same sentence again "
        "and again.",
    )
    frequency_penalty: float = Field(
        0.0,
        ge=0,
        le=2,
        description="Of llama.cpp: how much less likely a word becomes each time it is said. 0 is off: with .3 already "
        "small models begin to leave out the spaces between words in long calls.",
    )
    repeat_penalty: float = Field(
        1.0,
        ge=1,
        le=2,
        description="Of llama.cpp: by what the likelihood of all words that were said is divided. 1 is off; in long "
        "calls it does the same.",
    )
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="CPU threads of each replica. They wait for each other actively: two on two cores win a fifth "
        "alone, but lose a factor of three and more as soon as anything else runs there.",
    )
    niceness: int = Field(
        10,
        ge=0,
        le=19,
        description="How far its threads stand back for others on a busy Linux machine: the first phrase is to be "
        "spoken before the rest is written, and frames are to leave in time.",
    )
    rewrite_below_mb: int = Field(
        400,
        ge=0,
        description="Without a GPU, files smaller than this are rewritten once as Q8_0 where they are of a type (Q4_1, "
        "Q5_1) whose prompts take twice as long. Larger ones would write their answers slower.",
    )
    gpu_layers: int = Field(
        0, ge=0, le=1000, description="Layers put on the GPU, with a build of xllamacpp that knows one."
    )
    slots: int = Field(
        4, ge=1, le=64, description="Sessions whose prompts stay in memory, and answers written at once, per replica."
    )
    context_tokens: int = Field(
        8192, ge=256, le=1_048_576, description="Memory for prompts and answers, in tokens, shared evenly by the slots."
    )
    prefill_batch_tokens: int = Field(
        16,
        ge=8,
        le=2048,
        description="Prompt tokens computed in one go. A cancelled prompt, and the other sessions' next token, wait "
        "for two of these at most; 64 read long prompts 6 % faster, 8 read them 10 % slower.",
    )
    flash_attention: bool = Field(
        False, description="Slower on CPUs once a conversation is some turns long; worth it on GPUs."
    )
    chat_template: str = Field(
        "", description="A Jinja chat template to use instead of the one that the model's file brings."
    )
    timing: Timing = Field(
        default_factory=lambda: Timing(first_item_ms=60.0, items_per_s=40.0, concurrency=16),
        description="How long the synthetic engine takes; an item is a word.",
    )

    @property
    def places(self) -> int:
        """Requests that the engine works on at once."""
        return min(self.max_streams, self.timing.concurrency if self.engine == "synthetic" else self.slots)

    @model_validator(mode="after")
    def _every_slot_can_hold_a_conversation(self) -> "LlmOptions":
        if self.slot_tokens < 128:
            raise ValueError(f"context_tokens={self.context_tokens} leaves {self.slot_tokens} tokens a slot: give 128")
        if self.prefill_batch_tokens < self.slots:
            raise ValueError("prefill_batch_tokens must be at least slots: each slot's next token needs a place")
        return self

    @property
    def slot_tokens(self) -> int:
        """Tokens that one conversation may have, prompt and answer together."""
        return self.context_tokens // self.slots
