"""How long a caller waits for an answer, and how much of that the models alone would take.

python -m loadtest.voice_to_voice [--url URL | --config configs/local.yaml] [--turns 20] [--speech DIR] [--out reports/]

Turns are spoken over the Realtime socket at real-time pace, five to a call, and measured from the recording of both
sides; then the models' own times for the same files are taken by `python -m deployments.measure`, on the same machine,
after the calls. `loadtest.overhead` defines the figures. Prints the tables, saves JSON and a picture, and ends with
one line of JSON. Without --url a server is started for the run. No time makes it fail.
"""

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from loadtest.caller import RealtimeCaller
from loadtest.overhead import Turn
from loadtest.recording import RATE_HZ
from loadtest.report import write
from loadtest.server import started
from loadtest.speech import sentences
from loadtest.wav import read_speech, write_wav
from loadtest.wire import CallFailed

TURNS_A_CALL = 5  # so that the history is as long as in a real, short conversation
PAUSE_S = 0.5  # between the end of an answer and the caller's next word
MEASURE_RATE_HZ = 16_000


async def measured_turns(url: str, files: Sequence[Path]) -> tuple[list[Turn], list[str]]:
    """Every file as a turn, and the sentences that say what went wrong with the others."""
    turns: list[Turn] = []
    failed: list[str] = []
    for first in range(0, len(files), TURNS_A_CALL):
        try:
            async with RealtimeCaller(url) as caller:
                for file in files[first : first + TURNS_A_CALL]:
                    await _turn(caller, file, turns, failed)
        except CallFailed as lost:
            failed.append(f"call {first // TURNS_A_CALL + 1}: {lost}")
    return turns, failed


async def _turn(caller: RealtimeCaller, file: Path, turns: list[Turn], failed: list[str]) -> None:
    round_trip_ms = await caller.round_trip_ms()
    await caller.say(np.concatenate((np.zeros(round(PAUSE_S * RATE_HZ), np.int16), read_speech(file))))
    answer = await caller.answer()
    if answer.voice_to_voice_ms is None:
        failed.append(f"{file.name}: no sound came ({answer.status}: {answer.reason})")
        return
    turn = Turn(
        file=str(file),
        heard=answer.heard,
        text=answer.text,
        status=answer.status,
        voice_to_voice_ms=answer.voice_to_voice_ms,
        round_trip_ms=round_trip_ms,
        timeline=answer.timeline or {},
    )
    turns.append(turn)
    print(f"{turn.voice_to_voice_ms:7.0f} ms  {file.name:<16} {turn.heard} | {turn.text}", flush=True)


def models_alone(config: Path, files: Sequence[Path]) -> list[dict[str, Any]]:
    """What `deployments.measure` says about these files: one object a file, then one over all. Raises CallFailed."""
    with TemporaryDirectory() as folder:
        copies = {str(Path(folder, f"{index}.wav")): file for index, file in enumerate(files)}
        for copy, file in copies.items():
            write_wav(Path(copy), read_speech(file, MEASURE_RATE_HZ), MEASURE_RATE_HZ)
        command = [sys.executable, "-m", "deployments.measure", str(config), *copies]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CallFailed("the models alone could not be measured; the line above says why")
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return [{**row, "file": str(copies[row["file"]])} if "file" in row else row for row in rows]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.voice_to_voice", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--url", help="a server that runs already, with the models of --config; else one is started")
    parser.add_argument("--config", type=Path, default=Path("configs/local.yaml"), help="its models (%(default)s)")
    parser.add_argument("--turns", type=int, default=20, help="(%(default)s)")
    parser.add_argument("--speech", type=Path, metavar="DIR", help="recordings; ../shared/speech or made ones if unset")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where no turn was answered, 2 where there is no server, model or speech; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        files = sentences(args.speech, args.config)
        with nullcontext(args.url) if args.url else started(args.config) as url:
            turns, failed = asyncio.run(measured_turns(url, list(islice(cycle(files), args.turns))))
        floor = models_alone(args.config, files[: args.turns]) if turns else []
    except CallFailed as wrong:
        print(f"loadtest.voice_to_voice: {wrong}", file=sys.stderr)
        return 2
    for failure in failed:
        print(f"failed: {failure}", file=sys.stderr)
    if not turns:
        return 1
    print(json.dumps(write(args.out, turns, floor, failed)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
