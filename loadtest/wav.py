"""Sound files in and out: anything a caller may want to play, and recordings to listen to."""

import wave
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from loadtest.recording import RATE_HZ
from loadtest.voiced import Pcm


class BadRecording(Exception):
    """A file that cannot be played; the message is a sentence that names it."""


def read_speech(path: Path, rate_hz: int = RATE_HZ) -> Pcm:
    """A recording of any rate and number of channels -> int16[n], mono, at `rate_hz`.

    WAV with integer samples needs nothing; other formats (FLAC, Ogg, floating point) need the package `soundfile`.
    Raises `BadRecording`.
    """
    if not path.is_file():
        raise BadRecording(f"{path}: no such file")
    try:
        samples, rate = _read_wav(path)
    except (wave.Error, EOFError):
        samples, rate = _read_other(path)
    if not samples.size:
        raise BadRecording(f"{path}: there is no sound in it")
    mono = samples.mean(axis=1)
    return _to_pcm(mono if rate == rate_hz else soxr.resample(mono, rate, rate_hz, quality="HQ"))


def write_wav(path: Path, pcm: NDArray[np.int16], rate_hz: int = RATE_HZ) -> None:
    """int16[n] (mono) or int16[n, channels] -> a WAV file; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if pcm.ndim == 1 else pcm.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.astype("<i2").tobytes())


def _read_wav(path: Path) -> tuple[NDArray[np.float32], int]:
    """float32[n, channels] in [-1, 1], and the rate in Hz."""
    with wave.open(str(path), "rb") as file:
        width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
        data = file.readframes(file.getnframes())
    if width not in (1, 2, 3, 4):
        raise BadRecording(f"{path}: samples of {width * 8} bits are not supported")
    data = data[: len(data) // (width * channels) * width * channels]
    return (_integers(data, width) / 2.0 ** (8 * width - 1)).astype(np.float32).reshape(-1, channels), rate


def _integers(data: bytes, width: int) -> NDArray[np.int32]:
    """Little-endian samples; 8 bits are unsigned in WAV, 24 bits have no type of their own."""
    if width == 1:
        return np.frombuffer(data, np.uint8).astype(np.int32) - 128
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return padded.reshape(-1).view("<i4") >> 8
    return np.frombuffer(data, f"<i{width}").astype(np.int32)


def _read_other(path: Path) -> tuple[NDArray[np.float32], int]:
    try:
        import soundfile
    except (ImportError, OSError) as missing:
        raise BadRecording(
            f"{path}: only WAV with integer samples can be read here; for FLAC and others: pip install soundfile"
        ) from missing
    try:
        samples: Any
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as unreadable:
        raise BadRecording(f"{path}: not a sound file that can be read ({unreadable})") from unreadable
    return samples, int(rate)


def _to_pcm(samples: NDArray[np.float32]) -> Pcm:
    return (np.clip(samples, -1.0, 32767.0 / 32768.0) * 32768.0).round().astype(np.int16)
