"""The head of a GGUF file: is it whole, what chat template does it bring, which tokens are the model's own signs.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deployments.errors import BadModel

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
UNKNOWN, CONTROL = 2, 3  # llama.cpp's token types: those that text must not be read as
LONGEST_ARRAY = 4_000_000  # no vocabulary comes near it; a damaged file could claim anything


@dataclass(frozen=True, slots=True)
class GgufHead:
    """`signs` are the control tokens, such as <|im_start|>. `context_tokens` is what the model was trained for."""

    chat_template: str
    signs: tuple[str, ...]
    context_tokens: int | None


def read_head(path: Path) -> GgufHead:
    """Raises `BadModel`, in one sentence, for a file that is absent, damaged or of another kind."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _head(_Reader(content).metadata())
    except OSError as error:
        raise BadModel(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, struct.error, UnicodeDecodeError) as error:
        raise BadModel(f"{path} is no whole GGUF file: {error}") from error


def _head(metadata: Mapping[str, Any]) -> GgufHead:
    tokens = metadata.get("tokenizer.ggml.tokens", [])
    types = metadata.get("tokenizer.ggml.token_type", [])
    signs = (token for token, kind in zip(tokens, types, strict=False) if kind in (UNKNOWN, CONTROL) and token)
    architecture = metadata.get("general.architecture", "")
    return GgufHead(
        chat_template=metadata.get("tokenizer.chat_template", ""),
        signs=tuple(signs),
        context_tokens=metadata.get(f"{architecture}.context_length"),
    )


class _Reader:
    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self._at = 0

    def metadata(self) -> dict[str, Any]:
        if self._take(4) != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version = self._scalar("<I")
        if version not in (2, 3):
            raise ValueError(f"version {version} is not known")
        self._scalar("<Q")  # the number of tensors
        return {self._string(): self._value(self._scalar("<I")) for _ in range(self._count())}

    def _value(self, kind: int) -> Any:
        if kind == STRING:
            return self._string()
        if kind == ARRAY:
            return self._array()
        return self._scalar(self._format(kind))

    def _array(self) -> Any:
        kind, count = self._scalar("<I"), self._count()
        if kind == STRING:
            return [self._string() for _ in range(count)]
        if kind == ARRAY:
            raise ValueError("it has arrays of arrays")
        form = self._format(kind)
        return struct.unpack(f"<{count}{form[1]}", self._take(count * struct.calcsize(form)))

    def _format(self, kind: int) -> str:
        try:
            return SCALARS[kind]
        except KeyError:
            raise ValueError(f"value type {kind} is not known") from None

    def _count(self) -> int:
        count: int = self._scalar("<Q")
        if count > LONGEST_ARRAY:
            raise ValueError(f"it claims {count} entries")
        return count

    def _string(self) -> str:
        # a vocabulary may hold single bytes that are no text by themselves
        return self._take(self._scalar("<Q")).decode(errors="replace")

    def _scalar(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _take(self, size: int) -> bytes:
        if self._at + size > len(self._content):
            raise ValueError("it ends in the middle of its header")
        self._at += size
        return self._content[self._at - size : self._at]
