"""G.711, the telephone's 8-bit companding of 14- and 13-bit PCM, by table.

ITU-T Recommendation G.711 (11/88), tables 1a to 2b; the arithmetic is that of the reference code in ITU-T G.191
(`g711.c`). Encoding looks up all 65536 sample values, so that a chunk costs one indexing operation.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deployments.contracts import Pcm

RATE_HZ = 8_000
"""The only rate that G.711 is defined for."""

Law = Literal["mu", "a"]
Bytes = NDArray[np.uint8]

_MU_BIAS = 0x84
_MU_CLIP = 32635  # the largest magnitude that keeps the bias from overflowing 15 bits


def _decode_mu() -> Pcm:
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4) & 7, (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + _MU_BIAS) << exponent.astype(np.int32)) - _MU_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _decode_a() -> Pcm:
    code = np.arange(256, dtype=np.uint8) ^ 0x55  # even bits are inverted on the line
    exponent, mantissa = ((code >> 4) & 7).astype(np.int32), (code & 15).astype(np.int32)
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _encode_mu() -> Bytes:
    sample = np.arange(-32768, 32768)
    magnitude = np.minimum(np.abs(sample), _MU_CLIP) + _MU_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int64) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    sign = np.where(sample < 0, 0x80, 0)
    code: Bytes = (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)
    return code


def _encode_a() -> Bytes:
    sample = np.arange(-32768, 32768) >> 4  # 12 bits and a sign, as the reference does it
    magnitude = np.where(sample < 0, ~sample, sample)  # one's complement: -1 is as near to zero as 0
    exponent = np.where(magnitude > 15, np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int64) - 3, 0)
    mantissa = np.where(exponent == 0, magnitude, magnitude >> np.maximum(exponent - 1, 0)) & 15
    sign = np.where(sample >= 0, 0x80, 0)
    code: Bytes = ((sign | (exponent << 4) | mantissa) ^ 0x55).astype(np.uint8)
    return code


_DECODE = {"mu": _decode_mu(), "a": _decode_a()}
_ENCODE = {"mu": _encode_mu(), "a": _encode_a()}


def decode(data: bytes, law: Law) -> Pcm:
    """One byte per sample at 8 kHz -> int16[n]."""
    pcm: Pcm = _DECODE[law][np.frombuffer(data, np.uint8)]
    return pcm


def encode(pcm: Pcm, law: Law) -> bytes:
    """int16[n] at 8 kHz -> n bytes."""
    return bytes(_ENCODE[law][pcm.astype(np.int32) + 32768].tobytes())
