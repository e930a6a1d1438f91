"""This machine's microphone and speaker, through PortAudio (the extra `talk`)."""

import threading
from typing import Any, Self

import numpy as np
import soxr

from loadtest.recording import RATE_HZ
from loadtest.sound import FRAME_SAMPLES
from loadtest.voiced import Pcm

MICROPHONE_S = 0.2  # more than this waiting means that the call lags: the oldest is dropped, so that it is now again
SPEAKER_S = 300.0  # an answer comes faster than it is played; beyond this its rest is dropped


class NoSound(Exception):
    """There is no microphone or no speaker; the message says what is missing."""


class Fifo:
    """Samples from one thread to another: int16, at most `limit_s` of them at 24 kHz."""

    def __init__(self, limit_s: float, *, drop_oldest: bool) -> None:
        self._limit, self._drop_oldest = round(limit_s * RATE_HZ), drop_oldest
        self._samples: Pcm = np.zeros(0, np.int16)
        self._lock = threading.Lock()

    def push(self, pcm: Pcm) -> None:
        with self._lock:
            joined = np.concatenate((self._samples, pcm))
            self._samples = joined[-self._limit :] if self._drop_oldest else joined[: self._limit]

    def take(self, count: int) -> Pcm:
        """int16[count]: what there is, then silence."""
        with self._lock:
            pcm, self._samples = self._samples[:count], self._samples[count:]
        return np.pad(pcm, (0, count - len(pcm)))

    def clear(self) -> None:
        with self._lock:
            self._samples = self._samples[:0]


class SoundCard:
    """The default devices, open for as long as the `with` lasts. A `Microphone` and a `Speaker` of a caller."""

    def __init__(self) -> None:
        self._said = Fifo(MICROPHONE_S, drop_oldest=True)
        self._heard = Fifo(SPEAKER_S, drop_oldest=False)
        self._streams: list[Any] = []

    def __enter__(self) -> Self:
        sounddevice = _sounddevice()
        try:
            self._open_microphone(sounddevice)
            self._open_speaker(sounddevice)
        except sounddevice.PortAudioError as missing:
            self.__exit__()
            raise NoSound(f"no microphone or speaker can be opened here ({missing})") from missing
        return self

    def __exit__(self, *_: object) -> None:
        for stream in self._streams:
            stream.close()
        self._streams.clear()

    def frame(self) -> Pcm:
        return self._said.take(FRAME_SAMPLES)

    def play(self, pcm: Pcm) -> None:
        self._heard.push(pcm)

    def stop(self) -> None:
        self._heard.clear()

    def _open_microphone(self, sounddevice: Any) -> None:
        rate_hz = _rate_hz(sounddevice, "input")
        resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, dtype="int16")

        def recorded(samples: Any, frames: int, time: Any, status: Any) -> None:
            self._said.push(resampler.resample_chunk(samples[:, 0].copy()))

        self._start(sounddevice.InputStream(rate_hz, rate_hz // 50, channels=1, dtype="int16", callback=recorded))

    def _open_speaker(self, sounddevice: Any) -> None:
        rate_hz = _rate_hz(sounddevice, "output")
        resampler = soxr.ResampleStream(RATE_HZ, rate_hz, 1, dtype="int16")
        ready = np.zeros(0, np.int16)

        def wanted(samples: Any, frames: int, time: Any, status: Any) -> None:
            nonlocal ready
            while len(ready) < frames:
                ready = np.concatenate((ready, resampler.resample_chunk(self._heard.take(FRAME_SAMPLES))))
            samples[:, 0], ready = ready[:frames], ready[frames:]

        self._start(sounddevice.OutputStream(rate_hz, rate_hz // 50, channels=1, dtype="int16", callback=wanted))

    def _start(self, stream: Any) -> None:
        self._streams.append(stream)
        stream.start()


def _rate_hz(sounddevice: Any, kind: str) -> int:
    """24 kHz where the device takes it, else its own rate."""
    try:
        getattr(sounddevice, f"check_{kind}_settings")(samplerate=RATE_HZ, channels=1, dtype="int16")
    except sounddevice.PortAudioError:
        return int(sounddevice.query_devices(kind=kind)["default_samplerate"])
    return RATE_HZ


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError as missing:
        raise NoSound("the package sounddevice is missing: pip install 'antiphon[talk]'") from missing
    except OSError as missing:
        raise NoSound("the library PortAudio is missing: apt install libportaudio2") from missing
    return sounddevice
