"""Networks cut in two, on small ones of the same form: a reader, and a decoder that is nothing but convolutions."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deployments.tts.vits import FIRST_FRAMES, LEAST_REST, Whole, Windowed, network, windows
from deployments.tts.vits_halves import halves

RANDOM = np.random.default_rng(3)
HOP = 4


def weights(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(RANDOM.normal(size=shape).astype(np.float32), name)


def voice(path: Path, *, decoder: str = "/dec/", speakers: bool = False, reach: int = 3) -> None:
    """Phonemes -> latents[1, 2, n], by a cast; latents -> sound, by a convolution that reaches so many frames and one
    that makes `HOP` samples of each. With speakers, what they sound like is added in between."""
    read = [
        helper.make_node("Cast", ["input"], ["cast"], "/read", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "loud"], ["by_length"], "/loud"),
        helper.make_node("Add", ["by_length", "either"], ["latents"], "/either"),
    ]
    conv = helper.make_node(
        "Conv", ["latents", "pre"], ["pre_out"], f"{decoder}conv_pre/Conv", kernel_shape=[2 * reach + 1],
        pads=[reach, reach],
    )  # fmt: skip
    up = helper.make_node("ConvTranspose", ["there", "up"], ["up_out"], f"{decoder}up", strides=[HOP])
    same = helper.make_node("Identity", ["pre_out"], ["there"], f"{decoder}same")
    out = helper.make_node("Unsqueeze", ["up_out", "axis"], ["output"], "/out")
    inputs: list[tuple[str, Any, Any]] = [
        ("input", TensorProto.INT64, [1, "n"]),
        ("input_lengths", TensorProto.INT64, [1]),
    ]
    inputs.append(("scales", TensorProto.FLOAT, [3]))
    known = [
        numpy_helper.from_array(np.float32(0.1).reshape(1), "loud"),
        weights("either", 1, 2, 1),
        weights("pre", 3, 2, 2 * reach + 1),
        weights("up", 3, 1, HOP),
        numpy_helper.from_array(np.array([0]), "axis"),
    ]
    nodes = [*read, conv, same, up, out]
    if speakers:
        inputs.append(("sid", TensorProto.INT64, [1]))
        known += [weights("table", 2, 5, 1), weights("cond", 3, 5, 1)]
        nodes[-3:-2] = [
            helper.make_node("Gather", ["table", "sid"], ["speaker"], "/speaker", axis=0),
            helper.make_node("Conv", ["speaker", "cond"], ["cond_out"], f"{decoder}cond/Conv", kernel_shape=[1]),
            helper.make_node("Add", ["pre_out", "cond_out"], ["there"], f"{decoder}add"),
        ]
    graph = helper.make_graph(
        nodes, "voice", [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)], known,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.save(model, path)


def inputs(phonemes: int, speaker: int | None = None) -> dict[str, Any]:
    given = {
        "input": RANDOM.integers(0, 50, size=(1, phonemes)),
        "input_lengths": np.array([phonemes]),
        "scales": np.ones(3, np.float32),
    }
    return given if speaker is None else given | {"sid": np.array([speaker])}


@pytest.mark.parametrize("speaker", [None, 1])
@pytest.mark.parametrize("reach", [0, 3, 20])
def test_windows_are_the_sound_of_the_whole(tmp_path: Path, speaker: int | None, reach: int) -> None:
    path = tmp_path / "model.onnx"
    voice(path, speakers=speaker is not None, reach=reach)
    cut, given = network(path, 1), inputs(200, speaker)
    assert isinstance(cut, Windowed)
    pieces = list(cut.sound(given))
    assert [len(samples) for samples, _ in pieces] == [HOP * (end - first) for first, end in windows(200)]
    assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]
    uncut = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    ((whole, _),) = Whole(uncut).sound(given)
    assert np.allclose(np.concatenate([samples for samples, _ in pieces]), whole, atol=1e-5)


@pytest.mark.parametrize("changed", [{"decoder": "/other/"}, {"reach": 40}])
def test_another_network_is_used_as_it_is(tmp_path: Path, changed: dict[str, Any]) -> None:
    """One without such a decoder, or whose decoder hears too far."""
    voice(tmp_path / "model.onnx", **changed)
    assert halves(tmp_path / "model.onnx") is None
    assert isinstance(network(tmp_path / "model.onnx", 1), Whole)
    assert not list(tmp_path.glob("model.*coder*.onnx"))


def test_it_is_cut_once_and_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    voice(path)
    first = halves(path)
    assert first is not None
    assert halves(path) == first
    voice(path, reach=4)
    second = halves(path)
    assert second is not None
    assert not {*first} & {*second}
    assert not any(old.exists() for old in first)


@given(st.integers(1, 5000))
def test_windows_follow_each_other_and_the_first_is_short(frames: int) -> None:
    found = list(windows(frames))
    assert found[0][0] == 0
    assert found[-1][1] == frames
    assert all(end == first for (_, end), (first, _) in pairwise(found))
    assert frames < FIRST_FRAMES + LEAST_REST or found[0][1] == FIRST_FRAMES
    assert len(found) == 1 or found[-1][1] - found[-1][0] >= LEAST_REST
