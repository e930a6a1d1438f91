"""What becomes of calls when more come than there is room for.

python -m loadtest.overload [--config configs/demo.yaml] [--calls 8] [--turns 4] [--speech DIR] [--out reports/]

A server is started that takes `--calls` calls. First so many callers arrive within ten seconds and talk, then twice as
many. Those who get in must be answered as before; the others are to be refused at once, with a reason. One process
calls, over the socket. Prints a table, saves JSON and a picture, and ends with one line of JSON; no time makes it fail.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.arguments import positive
from loadtest.caller import RealtimeCaller
from loadtest.overload_picture import draw
from loadtest.recording import RATE_HZ
from loadtest.report import machine, table
from loadtest.server import started
from loadtest.speech import sentences
from loadtest.statistics import Summary, summarise
from loadtest.voiced import Pcm
from loadtest.wav import read_speech
from loadtest.wire import CallFailed

ARRIVE_S = 10.0
PAUSE_S = 0.5
"""Between the end of an answer and the caller's next word."""


@dataclass(slots=True)
class Visit:
    """One caller. `arrived_s`: after the first one of the round. `refused_ms`: from dialling to the refusal."""

    arrived_s: float
    refused_ms: float | None = None
    reason: str = ""
    voice_to_voice_ms: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def round_of_calls(url: str, number: int, turns: int, speech: Sequence[Pcm]) -> list[Visit]:
    """`number` callers arrive evenly within `ARRIVE_S`; those who get in say `turns` things."""
    began_s = time.monotonic()
    visits = [Visit(ARRIVE_S * index / number) for index in range(number)]

    async def call(index: int, visit: Visit) -> None:
        await asyncio.sleep(began_s + visit.arrived_s - time.monotonic())
        await _call(url, visit, list(islice(cycle(speech), index, index + turns)))

    async with asyncio.TaskGroup() as group:
        for index, visit in enumerate(visits):
            group.create_task(call(index, visit))
    return visits


async def _call(url: str, visit: Visit, speech: Sequence[Pcm]) -> None:
    dialled_s, is_in = time.monotonic(), False
    try:
        async with RealtimeCaller(url) as caller:
            is_in = True
            for pcm in speech:
                await caller.say(np.concatenate((np.zeros(round(PAUSE_S * RATE_HZ), np.int16), pcm)))
                answer = await caller.answer()
                if answer.voice_to_voice_ms is None:
                    visit.failed.append(f"no sound came ({answer.status}: {answer.reason})")
                else:
                    visit.voice_to_voice_ms.append(answer.voice_to_voice_ms)
    except CallFailed as wrong:
        if is_in:
            visit.failed.append(str(wrong))
        else:
            visit.refused_ms, visit.reason = (time.monotonic() - dialled_s) * 1000, str(wrong)


def report(folder: Path, planned: Sequence[Visit], twice: Sequence[Visit]) -> dict[str, Any]:
    """Print the table, save JSON and picture. Returns what the last line says."""
    rows: dict[str, Summary] = {
        "as_planned_ms": summarise(ms for visit in planned for ms in visit.voice_to_voice_ms),
        "overloaded_ms": summarise(ms for visit in twice for ms in visit.voice_to_voice_ms),
        "refused_after_ms": summarise(visit.refused_ms for visit in twice if visit.refused_ms is not None),
    }
    before, after = rows["as_planned_ms"].p95, rows["overloaded_ms"].p95
    reasons = sorted({visit.reason for visit in twice if visit.reason})
    result: dict[str, Any] = {name: asdict(row) for name, row in rows.items()} | {
        "p95_ratio": round(after / before, 3) if before and after else None,
        "accepted": sum(visit.refused_ms is None for visit in twice),
        "refused": sum(visit.refused_ms is not None for visit in twice),
        "failed_turns": {"as_planned": _failures(planned), "overloaded": _failures(twice)},
        "reasons": reasons,
        "machine": machine(),
    }
    print("\nFrom the caller's last sound to the answer's first; from dialling to the refusal", table(rows), sep="\n")
    print(f"\n{result['accepted']} of {len(twice)} got in, {result['refused']} were refused: {'; '.join(reasons)}")
    print(f"p95 with twice as many callers / as planned: {result['p95_ratio']}; failed turns {result['failed_turns']}")
    folder.mkdir(parents=True, exist_ok=True)
    visits = {"as_planned": [asdict(visit) for visit in planned], "overloaded": [asdict(visit) for visit in twice]}
    (folder / "overload.json").write_text(json.dumps({**result, "visits": visits}, indent=1) + "\n", encoding="utf-8")
    try:
        draw(folder / "overload.png", planned, twice, machine())
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def _failures(visits: Sequence[Visit]) -> int:
    return sum(len(visit.failed) for visit in visits)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.overload", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"), help="what is started (%(default)s)")
    parser.add_argument("--calls", type=positive, default=8, help="that it has room for (%(default)s)")
    parser.add_argument("--turns", type=positive, default=4, help="of each call (%(default)s)")
    parser.add_argument("--speech", type=Path, metavar="DIR", help="a folder of recordings; else the TTS makes them")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where nobody was answered, 2 where there is no server or speech; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        speech = [read_speech(file) for file in sentences(args.speech, args.config)]
        with started(args.config, {"ANTIPHON_INGRESS__MAX_CALLS": str(args.calls)}) as url:
            planned = asyncio.run(round_of_calls(url, args.calls, args.turns, speech))
            twice = asyncio.run(round_of_calls(url, 2 * args.calls, args.turns, speech))
    except CallFailed as wrong:
        print(f"loadtest.overload: {wrong}", file=sys.stderr)
        return 2
    for failure in sorted({said for visit in (*planned, *twice) for said in visit.failed}):
        print(f"failed: {failure}", file=sys.stderr)
    if not any(visit.voice_to_voice_ms for visit in (*planned, *twice)):
        return 1
    print(json.dumps(report(args.out, planned, twice)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
