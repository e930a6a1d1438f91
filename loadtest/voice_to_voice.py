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
from loadtest.programs import run_module
from loadtest.recording import RATE_HZ
from loadtest.report import write
from loadtest.server import started
from loadtest.speech import resolved_settings, sentences
from loadtest.wav import read_speech, write_wav
from loadtest.wire import CallFailed

TURNS_A_CALL = 5  # so that the history is as long as in a real, short conversation
PAUSE_S = 0.5  # between the end of an answer and the caller's next word
MEASURE_RATE_HZ = 16_000
LOAD_TIMEOUT_S, FILE_TIMEOUT_S = 900.0, 120.0  # of the models alone: a file is said several times


async def measured_turns(url: str, files: Sequence[Path]) -> tuple[list[Turn], list[str]]:
    """Every file as a turn, and for each of the others a sentence that says what went wrong."""
    turns: list[Turn] = []
    failed: list[str] = []
    for first in range(0, len(files), TURNS_A_CALL):
        waiting = list(files[first : first + TURNS_A_CALL])
        try:
            async with RealtimeCaller(url) as caller:
                while waiting:
                    await _turn(caller, waiting[0], turns, failed)
                    del waiting[0]
        except CallFailed as lost:  # with the call its remaining turns are lost, too
            failed += [f"call {first // TURNS_A_CALL + 1}, {file.name}: {lost}" for file in waiting]
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


def models_alone(settings: str, files: Sequence[Path]) -> list[dict[str, Any]]:
    """What `deployments.measure` says about these files with these settings (`resolved_settings`): one object a file,
    then one over all. Raises CallFailed."""
    with TemporaryDirectory() as folder:
        copies = {str(Path(folder, f"{index}.wav")): file for index, file in enumerate(files)}
        for copy, file in copies.items():
            write_wav(Path(copy), read_speech(file, MEASURE_RATE_HZ), MEASURE_RATE_HZ)
        words = (*copies, "--settings", "-")
        timeout_s = LOAD_TIMEOUT_S + FILE_TIMEOUT_S * len(copies)
        said = run_module("deployments.measure", *words, timeout_s=timeout_s, given=settings)
    rows: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [{**row, "file": str(copies[row["file"]])} if "file" in row else row for row in rows]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.voice_to_voice", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--url", help="a server that runs already, with the settings of --config; else one is started")
    parser.add_argument("--config", type=Path, default=Path("configs/local.yaml"), help="its settings (%(default)s)")
    parser.add_argument("--turns", type=int, default=20, help="(%(default)s)")
    speech = "a folder of recordings (default: SPEECH_RECORDINGS, else made by the TTS)"
    parser.add_argument("--speech", type=Path, metavar="DIR", help=speech)
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where no turn was answered, 2 where there is no server, model or speech; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        settings = resolved_settings(args.config)  # first of all: what is wrong with them stops everything else
        files = sentences(args.speech, args.config)
        with nullcontext(args.url) if args.url else started(args.config) as url:
            turns, failed = asyncio.run(measured_turns(url, list(islice(cycle(files), args.turns))))
        floor = models_alone(settings, files[: args.turns]) if turns else []
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
