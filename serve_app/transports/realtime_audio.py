"""Sound on the Realtime socket: three wire formats, and a model of the client's player."""

import base64
import binascii
import time
from collections.abc import Iterator
from typing import Literal

import numpy as np

from deployments.audio import Resampler
from deployments.contracts import SPEECH_RATE_HZ, Pcm
from deployments.errors import BadRequest
from serve_app.transports import g711

Format = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]

WIRE_RATE_HZ = 24_000
"""The rate of `audio/pcm` on the wire, and of what the call gives to `play`."""

MAX_ITEM_S = 120
"""The longest sound of one item: it is resampled in one go, which must not hold up the other calls."""

_LAWS: dict[Format, g711.Law] = {"audio/pcmu": "mu", "audio/pcma": "a"}


def rate_hz(wire_format: Format) -> int:
    return WIRE_RATE_HZ if wire_format == "audio/pcm" else g711.RATE_HZ


def check_duration(audio: str, wire_format: Format, field: str) -> None:
    """Raises `BadRequest` that names `field` if this base64 holds more sound than an item may; it is not decoded."""
    bytes_per_s = rate_hz(wire_format) * (1 if wire_format in _LAWS else 2)
    duration_s = len(audio) * 3 // 4 / bytes_per_s
    if duration_s > MAX_ITEM_S + 2 / bytes_per_s:  # base64's padding may pass for two bytes
        message = f"'{field}' lasts {duration_s:.1f} s; an item's audio may last {MAX_ITEM_S} s: append longer audio."
        raise BadRequest(message, field=field, code="audio_too_long")


def decode(audio: str, wire_format: Format, field: str) -> Pcm:
    """Base64 -> int16[n] at the format's rate. Raises `BadRequest` that names `field`."""
    try:
        data = base64.b64decode(audio, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"'{field}' is not base64: {error}.", field=field, code="invalid_base64") from None
    law = _LAWS.get(wire_format)
    if law is not None:
        return g711.decode(data, law)
    if len(data) % 2:
        message = f"'{field}' holds {len(data)} bytes; 16-bit PCM needs an even number."
        raise BadRequest(message, field=field, code="invalid_audio")
    return np.frombuffer(data, "<i2").astype(np.int16)


class InputStream:
    """The caller's audio from one wire format to 16 kHz, one stream without clicks at the seams."""

    def __init__(self, wire_format: Format) -> None:
        self.wire_format = wire_format
        self._rate_hz = rate_hz(wire_format)
        self._resampler = Resampler(self._rate_hz, SPEECH_RATE_HZ)

    def push(self, audio: str) -> Iterator[Pcm]:
        """Base64 -> int16[n] at 16 kHz, at most a second at a time: a long append must not hold up the process."""
        pcm = decode(audio, self.wire_format, "audio")
        for first in range(0, len(pcm), self._rate_hz):
            out = self._resampler.push(pcm[first : first + self._rate_hz])
            if len(out):
                yield out

    def rest(self) -> Iterator[Pcm]:
        """What the resampler held back (21 ms): the end of a committed turn. What follows is a new stream."""
        out = self._resampler.push(np.zeros(0, np.int16), last=True)
        self._resampler = Resampler(self._rate_hz, SPEECH_RATE_HZ)
        if len(out):
            yield out


class OutputStream:
    """An answer's audio, int16 at 24 kHz, to base64 in one wire format."""

    def __init__(self, wire_format: Format) -> None:
        self._law = _LAWS.get(wire_format)
        self._resampler = Resampler(WIRE_RATE_HZ, rate_hz(wire_format))

    def push(self, pcm: Pcm) -> str:
        """May be empty: the resampler holds back a few milliseconds."""
        return self._encoded(self._resampler.push(pcm))

    def rest(self) -> str:
        """What the resampler held back."""
        return self._encoded(self._resampler.push(np.zeros(0, np.int16), last=True))

    def _encoded(self, out: Pcm) -> str:
        data = out.astype("<i2").tobytes() if self._law is None else g711.encode(out, self._law)
        return base64.b64encode(data).decode("ascii")


class Player:
    """What the client's own player has played, as far as the server can know: it starts at once and never stalls."""

    def __init__(self) -> None:
        self._ends_s = 0.0

    def push(self, samples: int) -> None:
        """Samples at 24 kHz, played after those that are waiting."""
        self._ends_s = max(self._ends_s, time.monotonic()) + samples / WIRE_RATE_HZ

    def unplayed(self) -> int:
        """Samples at 24 kHz that are still to be heard."""
        return max(0, round((self._ends_s - time.monotonic()) * WIRE_RATE_HZ))

    def stop(self) -> int:
        """Falls silent; returns what was `unplayed`."""
        unheard = self.unplayed()
        self._ends_s = 0.0
        return unheard
