"""A voice's network (VITS, https://arxiv.org/abs/2106.06103) on the CPU, by onnxruntime: phonemes to samples."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import onnxruntime

from deployments.priority import gently
from deployments.tts.trimming import Samples
from deployments.tts.vits_halves import HOP, REACH, halves

NICENESS = 19
"""Of a load: behind all others, the LLM's threads among them, whose next words other voices may be waiting for."""
FIRST_FRAMES = 36
"""Of the first window, .42 s. The silence at its front is cut, and the rest has to last until the next one is made: of
24, voices that share two busy cores sometimes fall silent within their first word."""
GROWTH = 3
"""Of the windows after it: the network is more than three times faster than speech, on busy cores as well."""
LEAST_REST = 48
"""A shorter one is made at once: an edge costs as much as some twenty frames."""
NEEDED = frozenset({"input", "input_lengths", "scales"})


class Network(Protocol):
    """`sound` yields float32[n] pieces, each made when it is asked for, and whether it is the last; `run`
    (onnxruntime.RunOptions) can end it."""

    def sound(self, inputs: Mapping[str, Any], run: Any = None) -> Iterator[tuple[Samples, bool]]: ...


def network(path: Path, threads: int) -> Network:
    """The one in this ONNX file, in windows where that can be had. Raises what onnxruntime and `onnx` raise for a file
    that is no network, and ValueError for one that is no voice's."""
    parts = halves(path)
    reading = _session(parts[0] if parts else path, threads)
    missing = NEEDED - {each.name for each in reading.get_inputs()}
    if missing:
        raise ValueError(f"it has no input {', '.join(sorted(missing))}")
    return Windowed(reading, _session(parts[1], threads)) if parts else Whole(reading)


class Whole:
    """A network that makes a phrase in one run."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def sound(self, inputs: Mapping[str, Any], run: Any = None) -> Iterator[tuple[Samples, bool]]:
        yield self._session.run(None, inputs, run)[0].reshape(-1), True


class Windowed:
    """One whose sound is made window by window, the same sound but for rounding."""

    def __init__(self, encoder: Any, decoder: Any) -> None:
        facts = decoder.get_modelmeta().custom_metadata_map
        self._reach, self._hop = int(facts[REACH]), int(facts[HOP])
        self._encoder, self._decoder = encoder, decoder
        self._names = [each.name for each in decoder.get_inputs()]

    def sound(self, inputs: Mapping[str, Any], run: Any = None) -> Iterator[tuple[Samples, bool]]:
        latents, *fixed = self._encoder.run(self._names, inputs, run)
        frames, others = latents.shape[2], dict(zip(self._names[1:], fixed, strict=True))
        for first, end in windows(frames):
            left, right = max(0, first - self._reach), min(frames, end + self._reach)
            made = self._decoder.run(None, {self._names[0]: latents[:, :, left:right], **others}, run)[0].reshape(-1)
            yield made[(first - left) * self._hop : (end - left) * self._hop], end == frames


def windows(frames: int) -> Iterator[tuple[int, int]]:
    """Their first frames and ends: a short one, then longer and longer ones."""
    first, size = 0, FIRST_FRAMES
    while first < frames:
        end = first + size if frames - first - size >= LEAST_REST else frames
        yield first, end
        first, size = end, size * GROWTH


def _session(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin while they wait would take a core from ASR and LLM between two runs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Planning which of 2,500 tensors may share memory takes four fifths of the time that loading takes, a core that
    # voices which speak meanwhile need; without the plan neither memory nor speed are any different.
    options.enable_mem_reuse = False
    # Other voices may be speaking.
    return gently(
        NICENESS, lambda: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    )
