"""Weights rewritten for llama.cpp's fast kernels, on small files of the same format."""

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize

from deployments.llm.requantise import fast_weights


def write(path: Path, kind: Type) -> np.ndarray:
    """A file with one tensor of `kind` and one of float32. Returns what the first one holds: float32[4, 64]."""
    values = np.random.default_rng(1).normal(size=(4, 64)).astype(np.float32)
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_token_list(["<s>", "hello", " world"])
    writer.add_tensor("weights", quantize(values, kind), raw_dtype=kind)
    writer.add_tensor("norm", np.ones(64, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    held: np.ndarray = dequantize(quantize(values, kind), kind)
    return held


@pytest.mark.parametrize("kind", [Type.Q4_1, Type.Q5_1])
def test_slow_types_become_fast_ones_of_the_same_values(tmp_path: Path, kind: Type) -> None:
    held = write(tmp_path / "model.gguf", kind)
    copy = fast_weights(tmp_path / "model.gguf")
    assert copy.parent == tmp_path
    assert copy.name != "model.gguf"
    weights, norm = GGUFReader(copy).tensors
    assert (weights.name, weights.tensor_type) == ("weights", Type.Q8_0)
    assert np.abs(dequantize(weights.data, Type.Q8_0) - held).max() < np.abs(held).max() / 200
    assert (norm.name, norm.tensor_type) == ("norm", Type.F32)
    assert norm.data.tolist() == [1.0] * 64


def test_what_else_is_in_the_file_stays(tmp_path: Path) -> None:
    write(tmp_path / "model.gguf", Type.Q4_1)
    original, copy = (GGUFReader(path) for path in (tmp_path / "model.gguf", fast_weights(tmp_path / "model.gguf")))

    def facts(reader: GGUFReader) -> dict[str, object]:
        return {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}

    assert facts(copy) == facts(original)
    assert facts(copy)["tokenizer.ggml.tokens"] == ["<s>", "hello", " world"]


def test_it_is_done_once_and_again_for_other_weights(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write(path, Type.Q4_1)
    first = fast_weights(path)
    written_ns = first.stat().st_mtime_ns
    assert fast_weights(path) == first
    assert first.stat().st_mtime_ns == written_ns
    write(path, Type.Q5_1)
    second = fast_weights(path)
    assert second != first
    assert not first.exists()


@pytest.mark.parametrize("kind", [Type.Q8_0, Type.Q4_0])
def test_types_that_are_fast_are_left_alone(tmp_path: Path, kind: Type) -> None:
    path = tmp_path / "model.gguf"
    write(path, kind)
    assert fast_weights(path) == path


def test_a_folder_that_cannot_be_written_to_is_no_obstacle(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "model.gguf"
    write(path, Type.Q4_1)
    blocked = path.with_name(f"model.q8_0-{path.stat().st_size}-{path.stat().st_mtime_ns}.lock")
    blocked.mkdir()  # as root one may write everywhere, but not a lock where a folder lies
    assert fast_weights(path) == path
    assert "is used as it is" in caplog.text
