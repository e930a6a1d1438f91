"""Weights in a form that llama.cpp multiplies fast on CPUs.

Its kernels for many tokens at once know some of the types that GGUF files come in and not others: a prompt in Q4_1 is
computed token by token and takes twice as long as in Q8_0, which holds the same values to three digits. Small models
are therefore rewritten once, beside the original. Large ones are not: what they write depends on how many bytes are
read for each token.
"""

from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

from deployments.derived import derived

SLOW = frozenset({Type.Q4_1, Type.Q5_1})
"""Those without such a kernel, of the types that are made of blocks of 32 as Q8_0 is."""
FAST = Type.Q8_0
_PLAIN = frozenset({Type.F32, Type.F16})


def fast_weights(path: Path) -> Path:
    """A file with the same model, Q8_0 in place of the slow types; `path` itself where it has none of them, or where
    nothing can be written beside it. Blocking, some seconds the first time. Raises what `gguf` raises for a file that
    it cannot read."""
    return derived(path, FAST.name.lower(), lambda part: _rewrite(path, part)) or path


def _rewrite(path: Path, part: Path) -> bool:
    reader = GGUFReader(path)
    slow = any(tensor.tensor_type in SLOW for tensor in reader.tensors)
    if slow:
        _write(reader, part)
    return slow


def _write(reader: GGUFReader, part: Path) -> None:
    fields = dict(reader.fields)
    writer = GGUFWriter(part, fields.pop("general.architecture").contents())
    try:
        for name, field in fields.items():
            if not name.startswith("GGUF."):  # the file's own counts
                kind = field.types[0]
                of = field.types[-1] if kind is GGUFValueType.ARRAY else None
                writer.add_key_value(name, field.contents(), kind, sub_type=of)
        for tensor in reader.tensors:
            _add(writer, tensor)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _add(writer: GGUFWriter, tensor: Any) -> None:
    kind, data = tensor.tensor_type, tensor.data
    if kind in SLOW:
        kind, data = FAST, quantize(dequantize(data, kind), FAST)
    writer.add_tensor(tensor.name, data, raw_dtype=None if kind in _PLAIN else kind)
