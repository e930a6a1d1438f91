"""Speech for tests and demonstrations on machines without recordings.

antiphon check-config CONFIG --json | python -m deployments.say "text" OUT.wav --settings - [--rate 24000]
"""

import argparse
import asyncio
import sys
import wave
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import numpy as np

from deployments.audio import resample
from deployments.contracts import Pcm, Tts
from deployments.errors import AntiphonError
from deployments.in_process import SETTINGS_HELP, Engines, read_sections

EDGE_MS = 200
"""Silence before and after: the voices cut their own, and recordings of people have some."""


async def spoken(tts: Tts, text: str, rate_hz: int) -> Pcm:
    """The whole text as int16[n] at `rate_hz`, with a little silence around it."""
    async with aclosing(tts.speak(text)) as chunks:
        parts = [resample(chunk.pcm, chunk.rate_hz, rate_hz) async for chunk in chunks]
    edge = np.zeros(rate_hz * EDGE_MS // 1000, np.int16)
    return np.concatenate([edge, *parts, edge])


def write_wav(path: Path, pcm: Pcm, rate_hz: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(pcm.astype("<i2").tobytes())


async def _say(args: argparse.Namespace) -> None:
    tts = await asyncio.to_thread(Engines(read_sections(args.settings)).tts)
    try:
        write_wav(args.out, await spoken(tts, args.text, args.rate), args.rate)
    finally:
        await tts.unload()


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2, with one line, for settings or a model that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m deployments.say", description="Speech from text, as a WAV file.")
    parser.add_argument("text")
    parser.add_argument("out", type=Path, metavar="OUT.wav")
    parser.add_argument("--settings", required=True, metavar="FILE", help=SETTINGS_HELP)
    parser.add_argument("--rate", type=int, default=24_000, metavar="HZ", help="the file's rate (%(default)s)")
    try:
        asyncio.run(_say(parser.parse_args(argv)))
    except AntiphonError as wrong:
        print(f"deployments.say: {wrong}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
