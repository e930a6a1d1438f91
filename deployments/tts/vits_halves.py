"""A VITS network in two files: one that reads phonemes, and one that makes latents into sound.

The second, a HiFi-GAN (https://arxiv.org/abs/2010.05646), has most of the work and is nothing but convolutions: a
window of its input gives exactly the sound of that window, but for as many frames at its edges as the convolutions
reach. So a long phrase's first quarter of a second can be had without all of it.
"""

from collections.abc import Iterable
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.utils import Extractor

from deployments.derived import derived

DECODER = "/dec/"
"""What the names of its nodes begin with, as PyTorch's export writes them for Piper's training code."""
REACH, HOP = "antiphon.reach_frames", "antiphon.hop"
"""Metadata of the decoder's file: frames that a window needs at either side, and samples of a frame."""
LONGEST_REACH = 32
"""Frames. Of one that reaches further, windows would cost more than they save."""


def halves(path: Path) -> tuple[Path, Path] | None:
    """The files of the encoder and the decoder, beside `path`; None for a network without such a decoder, or where
    nothing can be written. Blocking, a second or two the first time. Raises what `onnx` raises for a file that is no
    network."""
    cut = _Cut(path)
    encoder = derived(path, "encoder", cut.write_encoder)
    decoder = derived(path, "decoder", cut.write_decoder)
    return (encoder, decoder) if encoder and decoder else None


class _Cut:
    """Between a network's two parts, looked for when it is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write_encoder(self, part: Path) -> bool:
        if not self._decoder:
            return False
        inputs = [each.name for each in self._whole.graph.input]
        onnx.save(self._extractor.extract_model(inputs, self._between), part)
        return True

    def write_decoder(self, part: Path) -> bool:
        if not self._decoder:
            return False
        onnx.save(self._decoder, part)
        return True

    @cached_property
    def _whole(self) -> Any:
        return onnx.load(self._path)

    @cached_property
    def _extractor(self) -> Any:
        """It asks for the form of all that becomes an input or an output, which files need not say."""
        for name, (_, channels, _) in self._shapes.items():
            form = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, channels, None])
            self._whole.graph.value_info.append(form)
        return Extractor(self._whole)

    @cached_property
    def _nodes(self) -> list[Any]:
        return [node for node in self._whole.graph.node if node.name.startswith(DECODER)]

    @cached_property
    def _between(self) -> list[str]:
        """The tensors that go from one part to the other, the latents first."""
        own = {name for node in self._nodes for name in node.output}
        known = {each.name for each in self._whole.graph.initializer}
        known |= {name for node in self._whole.graph.node if node.op_type == "Constant" for name in node.output}
        return [name for name in _inputs(self._nodes) if name and name not in own | known]

    @cached_property
    def _decoder(self) -> Any:
        """With what windows of it need to know; None where there is none that can be had in windows."""
        outputs = [each.name for each in self._whole.graph.output]
        if not self._between or len(self._shapes) < len(self._between):
            return None
        decoder = self._extractor.extract_model(self._between, outputs)
        if not _is_whole(decoder.graph):  # what comes out depends on more than goes into these nodes
            return None
        measured = _measured(decoder, self._shapes)
        if measured is None:
            return None
        onnx.helper.set_model_props(decoder, {REACH: str(measured[0]), HOP: str(measured[1])})
        return decoder

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, int, int]]:
        """Of what is between, to try it with: channels as the convolutions that read it have them; only the latents
        have frames. Without what is read by something else."""
        weights = {each.name: each.dims for each in self._whole.graph.initializer}
        shapes = {}
        for node in self._nodes:
            if node.op_type == "Conv" and node.input[0] in self._between and node.input[1] in weights:
                frames = 2 * LONGEST_REACH + 1 if node.input[0] == self._between[0] else 1
                shapes[node.input[0]] = (1, weights[node.input[1]][1], frames)
        return {name: shapes[name] for name in self._between if name in shapes}


def _inputs(nodes: Iterable[Any]) -> list[str]:
    """Each once, in the order in which they are read."""
    return list(dict.fromkeys(name for node in nodes for name in node.input))


def _is_whole(graph: Any) -> bool:
    """Is all that its nodes read there?"""
    there = {each.name for each in (*graph.input, *graph.initializer)}
    there |= {name for node in graph.node for name in node.output}
    return all(name in there for name in _inputs(graph.node) if name)


def _measured(decoder: Any, shapes: dict[str, tuple[int, int, int]]) -> tuple[int, int] | None:
    """How many frames away one frame is heard, and samples of a frame; None where it is further than that."""
    session = onnxruntime.InferenceSession(decoder.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    inputs = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    latents = next(iter(inputs.values()))
    before = session.run(None, inputs)[0].reshape(-1)
    latents[:, :, LONGEST_REACH] += 1
    changed = np.abs(session.run(None, inputs)[0].reshape(-1) - before) > 1e-4 * np.abs(before).max()
    hop, heard = len(before) // latents.shape[2], np.flatnonzero(changed)
    if not len(heard):
        return None
    reach = max(LONGEST_REACH - heard[0] / hop, (heard[-1] + 1) / hop - LONGEST_REACH - 1)
    return (ceil(reach), hop) if reach < LONGEST_REACH - 1 else None
