"""Callers in rooms that leave the machine to whom they call: `light_caller`, a program in Go that is built once.

What they say is encoded before, and what they hear is not decoded: a call costs them a fifth of what it costs a caller
with the LiveKit library. An answer begins with its first packet that is larger than those of silence, without the 50 ms
or so that a receiver keeps sound to even out its pace; a packet later than that is counted as a gap.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np

from loadtest.room_process import CallerProcess, running
from loadtest.room_sound import ROOM_FRAME_SAMPLES, ROOM_RATE_HZ
from loadtest.room_ticket import Ticket
from loadtest.voiced import Pcm, voiced_span
from loadtest.wav import read_speech
from loadtest.wire import CallFailed

SOURCE = Path(__file__).parent / "light_caller"
BUILD_S = 1800.0
GO = ("go", "/usr/local/go/bin/go")
ENCODER = {"application": "voip", "frame_duration": "20", "vbr": "on"}
BIT_RATE = 32_000
SILENT_BYTES = 3
"""What the encoder makes of silence. The program does not send it, as browsers in rooms do not."""
LOOK_AHEAD_MS = 6.5
"""Of the encoder: so much later is in its packets what was given to it."""


def obtain() -> Path:
    """The program: the one that was built of this source before, else it is built, in a minute or two. Raises
    `CallFailed` with what is missing."""
    sources = [path for path in sorted(SOURCE.iterdir()) if path.suffix in (".go", ".mod", ".sum")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "antiphon" / "bin"
    kept = cache / f"light_caller-{digest}"
    if kept.is_file():
        return kept
    go = next((found for name in GO if (found := shutil.which(name))), None)
    if go is None:
        raise CallFailed("light callers are built with Go, which is not here: https://go.dev/dl, or go without --light")
    print("building the light callers, once; it takes a minute or two", file=sys.stderr, flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        built = Path(folder) / kept.name
        command = [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), "."]
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        try:
            subprocess.run(
                command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=True, timeout=BUILD_S
            )
        except subprocess.CalledProcessError as failed:
            raise CallFailed(f"the light callers could not be built: {failed.stderr.strip()}") from failed
        except subprocess.TimeoutExpired as late:
            raise CallFailed(f"the light callers were not built within {BUILD_S:g} s") from late
        built.replace(kept)
    return kept


@asynccontextmanager
async def light_callers(
    program: Path, tickets: Sequence[Ticket], files: Sequence[Path], turns: int
) -> AsyncIterator[CallerProcess]:
    """As `room_process.caller_process`: all of them are one process. `program`: what `obtain` gave."""
    with tempfile.TemporaryDirectory() as folder:
        speech = [
            encoded(read_speech(file, ROOM_RATE_HZ), Path(folder) / f"{number}.opus")
            for number, file in enumerate(files)
        ]
        async with running([str(program)], tickets, turns, speech=speech) as callers:
            yield callers


def encoded(pcm: Pcm, to: Path) -> dict[str, Any]:
    """int16[n] at 48 kHz -> `{"file": …, "voiced_ms": …}`: Opus packets of 20 ms, each behind its length in two bytes,
    the lower first, and when the last voiced sample has been said. Raises `CallFailed` where there is no voice."""
    span = voiced_span(pcm, ROOM_RATE_HZ)
    if span is None:
        raise CallFailed("there is no voice in what the light callers are to say")
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = ROOM_RATE_HZ, "mono", "s16"
    encoder.bit_rate, encoder.options = BIT_RATE, ENCODER
    with to.open("wb") as file:
        whole = np.concatenate((pcm, np.zeros(-len(pcm) % ROOM_FRAME_SAMPLES, np.int16)))
        frames = [_frame(part) for part in whole.reshape(-1, 1, ROOM_FRAME_SAMPLES)]
        for packet in (packet for frame in (*frames, None) for packet in encoder.encode(frame)):
            file.write(packet.size.to_bytes(2, "little") + bytes(packet))
    return {"file": str(to), "voiced_ms": 1000 * span[1] / ROOM_RATE_HZ + LOOK_AHEAD_MS}


def _frame(part: Pcm) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
    frame.sample_rate = ROOM_RATE_HZ
    return frame
