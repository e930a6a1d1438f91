"""The `asr` section of the YAML."""

from typing import Literal

from pydantic import Field

from deployments.options import ModelOptions, Timing


class AsrOptions(ModelOptions):
    """Speech to text. The defaults suit whisper tiny on two cores; `gpus` above 0 runs it on the GPU."""

    engine: Literal["faster_whisper", "synthetic"] = Field(
        "faster_whisper",
        description="`faster_whisper`: Whisper by CTranslate2. `synthetic`: hears tones, needs no model.",
    )
    language: str | None = Field(
        "en", description="ISO 639-1 code of what callers speak; null detects it in each utterance, which costs time."
    )
    compute_type: Literal["default", "auto", "int8", "int8_float16", "int8_float32", "int16", "float16", "float32"] = (
        Field("int8", description="Arithmetic of CTranslate2: int8 is three times as fast as float32 on a CPU.")
    )
    threads: int = Field(
        1, ge=1, le=64, description="Threads of one transcription: on short audio a second gains nothing."
    )
    workers: int = Field(
        2, ge=1, le=64, description="Transcriptions at once: with 1, the final transcript queues behind a partial one."
    )
    padding_ms: int = Field(
        4000,
        ge=200,
        le=28_000,
        description="Silence after the speech, in place of filling 30 s. Below 4000 small models repeat themselves.",
    )
    second_padding_ms: int = Field(
        10_000,
        ge=200,
        le=28_000,
        description="The same where the result is suspicious, as it is of one word in some voices. Below 10000 such a "
        "word is still heard twice; a result that is suspicious again is redone with 30 s, which takes five times as "
        "long.",
    )
    beam_size: int = Field(1, ge=1, le=16, description="Hypotheses kept at once: 1 is greedy, and fastest.")
    repetition_penalty: float = Field(
        1.1, ge=1, le=2, description="Above 1 makes tokens less probable that were there before: fewer repetitions."
    )
    no_repeat_ngram: int = Field(
        4,
        ge=0,
        le=32,
        description="No sequence of so many tokens comes twice; 0 allows it. A suspicious result is redone.",
    )
    no_speech_threshold: float = Field(
        0.6,
        ge=0,
        le=1,
        description="Above this probability of silence, words that are improbable too are not believed.",
    )
    min_log_probability: float = Field(
        -0.7, le=0, description="Mean per token; words below it are not believed where there is probably no speech."
    )
    silence_dbfs: float = Field(
        -60.0, le=0, description="Audio whose loudest 20 ms is quieter than this is silence, without asking the model."
    )
    word_times: bool = Field(
        False,
        description="Find when each word was said. It costs about a tenth more time; without, `words` is empty.",
    )
    longest_s: float = Field(
        300.0, gt=0, le=3600, description="The longest audio that is accepted, in seconds; longer is refused."
    )
    timing: Timing = Field(Timing(), description="How long the synthetic engine takes; an item is one second of audio.")

    @property
    def places(self) -> int:
        """Requests that the engine works on at once."""
        return min(self.max_streams, self.timing.concurrency if self.engine == "synthetic" else self.workers)
