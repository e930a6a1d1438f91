"""What models cost: memory from the size of their files, cores from how one model of each engine was measured.

All of it is estimated. The measured models are those of `configs/local.yaml`, on two cores of a server; another model
of the same engine is taken to need as many times more as its files are larger. A GPU's speed is not estimated.
"""

from collections.abc import Mapping
from dataclasses import dataclass

TURN_S = 10.0
"""A turn of a talkative call: the caller speaks for 3 s, the agent answers 18 words, which is 7 s."""

PROCESS_GB = 0.35
"""A replica's Python, Ray and numerical libraries, without a model."""

CUDA_GB = 0.5
"""What CUDA takes of a GPU for each process, and its kernels."""

OPEN_STREAMS_PER_CALL = 0.25
"""Of a call's time, how much a stream of one kind of model is open: 3 s of partial transcripts, or of an answer being
written or spoken faster than it sounds, in a turn of 10 s."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of an engine. `core_s_per_turn` was measured with files of `measured_bytes`; `of_weights` is the memory that
    weights take for each byte in the file, `workspace_gb` what a request under way takes besides."""

    measured_bytes: int
    core_s_per_turn: float
    of_weights: float
    workspace_gb: float

    def core_s_per_call_s(self, size_bytes: int) -> float:
        return self.core_s_per_turn / TURN_S * size_bytes / self.measured_bytes

    def weights_gb(self, size_bytes: int) -> float:
        return self.of_weights * size_bytes / 1e9


FIGURES: Mapping[str, Figures] = {
    # whisper-tiny.en: .09 core-seconds a transcript of 3 s; while the caller speaks one every .3 s, and the last.
    # CTranslate2's files are float16; it holds them as they are, or smaller. Activations of a whole window of 30 s.
    "faster_whisper": Figures(78_090_594, 11 * 0.09, of_weights=1.1, workspace_gb=0.25),
    # smollm2-135m, one thread: .04 for each 8 tokens of prompt, .013 a token. 40 tokens are new in a turn, 25 written.
    "llama_cpp": Figures(98_362_432, 40 / 8 * 0.04 + 25 * 0.013, of_weights=1.1, workspace_gb=0.3),
    # piper-joe: .055 s on two threads for a phrase of 3 words. ONNX Runtime holds weights twice where it reorders them.
    "piper": Figures(63_206_088, 6 * 0.055 * 2, of_weights=2.0, workspace_gb=0.1),
    # smart-turn-v3.2: less than .1 a judgement, and mostly two of them in a turn.
    "smart_turn": Figures(8_679_182, 2 * 0.1, of_weights=2.0, workspace_gb=0.05),
}

INGRESS_CORES_PER_CALL = 0.05
"""Audio in and out, voice activity, the turn machine, in a room: .05 of a core, measured; less over the socket."""
INGRESS_CORES = 0.7
"""Of the one core that its event loop can use: with more of it busy, answers come half a second late (measured)."""

KV_BYTES_PER_TOKEN = 24_000
KV_OF_WEIGHTS = 2e-5
"""An LLM's memory for each token of its context: from 24 kB (135 M parameters) to 130 kB (8 B in 4 bits) at float16,
which is about this much and that part of the file."""


def kv_gb(size_bytes: int, tokens: int) -> float:
    """The memory of so many tokens of context, of an LLM whose file has this size."""
    return tokens * (KV_BYTES_PER_TOKEN + KV_OF_WEIGHTS * size_bytes) / 1e9
