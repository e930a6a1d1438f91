"""What callers hear of it when the model of a voice is replaced while it speaks.

python -m loadtest.swap [--config configs/local.yaml] [--calls 3] [--swaps 10] [--pause-s 2] [--out reports/]

A server is started, callers keep the agent speaking, with pauses as long as a question that is spoken, and the voice's
model is loaded anew again and again, over `POST /api/admin/models/MODEL/replace`: who speaks with the old copy finishes
with it. Prints how long a swap took, how long callers waited for their answers, and how long a player had nothing to
play, with the swaps and without them, saves JSON and a picture, and ends with one line of JSON; no time makes it fail.
"""

import argparse
import asyncio
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from loadtest.arguments import positive
from loadtest.caller import RealtimeCaller
from loadtest.picture import COLOURS, INK, plain
from loadtest.recording import RATE_HZ
from loadtest.report import machine, table
from loadtest.server import started
from loadtest.speech import resolved_settings
from loadtest.statistics import Summary, summarise
from loadtest.wire import CallFailed

QUESTION = "Tell me a long story about a dog, a cat and a boat."
BETWEEN_S = 1.0
"""Between two swaps."""
SWAP_S, USUAL_SWAP_S = 60.0, 1.0
PAUSE_S = 2.0


@dataclass(slots=True)
class Heard:
    """Of one round. `first_sound_ms`: from the question to the answer's first sample; `underrun_ms`: of each time that
    a player had nothing to play in the middle of an answer."""

    answers: int = 0
    first_sound_ms: list[float] = field(default_factory=list)
    underrun_ms: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    swap_ms: list[float] = field(default_factory=list)


async def spoken_to(url: str, calls: int, pause_s: float, until: "asyncio.Task[None]", heard: Heard) -> None:
    """Callers who ask again and again, by typing, until this task has ended. One comes after the other."""

    async def call(number: int) -> None:
        await asyncio.sleep(number * pause_s / calls)
        try:
            async with RealtimeCaller(url) as caller:
                while not until.done():
                    await caller.type(QUESTION)
                    answer = await caller.answer()
                    heard.answers += 1
                    if answer.first_voiced_ms is None:
                        heard.failed.append(f"no sound came ({answer.status}: {answer.reason})")
                    else:
                        heard.first_sound_ms.append(answer.first_voiced_ms - answer.asked_ms)
                    await asyncio.sleep(pause_s)
                heard.underrun_ms += [gap.samples * 1000 / RATE_HZ for gap in caller.gaps]
        except CallFailed as wrong:
            heard.failed.append(str(wrong))

    await asyncio.gather(*(call(number) for number in range(calls)), until)


async def swaps(url: str, key: str, model: str, number: int, heard: Heard) -> None:
    """Raises CallFailed where the server refuses."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(headers=headers, timeout=SWAP_S + 10, trust_env=False) as client:
        for _ in range(number):
            await asyncio.sleep(BETWEEN_S)
            began_s = time.monotonic()
            body = {"deployment": "tts", "wait_s": SWAP_S}
            answer = await client.post(f"{url}/api/admin/models/{model}/replace", json=body)
            if not answer.is_success:
                raise CallFailed(f"the model is not replaced: {answer.text[:300]}")
            heard.swap_ms.append((time.monotonic() - began_s) * 1000)


async def rounds(url: str, key: str, model: str, calls: int, number: int, pause_s: float) -> tuple[Heard, Heard]:
    """With swaps, and before that the same callers with nothing done, for about as long: a server that has just started
    does not know yet how fast it is."""
    swapped, quiet = Heard(), Heard()
    lasts_s = number * (BETWEEN_S + USUAL_SWAP_S)
    await spoken_to(url, calls, pause_s, asyncio.create_task(asyncio.sleep(lasts_s)), quiet)
    await spoken_to(url, calls, pause_s, asyncio.create_task(swaps(url, key, model, number, swapped)), swapped)
    return swapped, quiet


def report(folder: Path, swapped: Heard, quiet: Heard, calls: int) -> dict[str, Any]:
    """Print the table, save JSON and picture. Returns what the last line says."""
    rows: dict[str, Summary] = {
        "swap_ms": summarise(swapped.swap_ms),
        "first_sound_ms": summarise(swapped.first_sound_ms),
        "without swaps": summarise(quiet.first_sound_ms),
        "underrun_ms": summarise(swapped.underrun_ms),
        "underrun without": summarise(quiet.underrun_ms),
    }
    print(f"\n{calls} calls, {len(swapped.swap_ms)} swaps", table(rows), sep="\n")
    result: dict[str, Any] = {name.replace(" ", "_"): asdict(row) for name, row in rows.items()}
    result |= {"answers": swapped.answers, "failed": len(swapped.failed), "machine": machine()}
    folder.mkdir(parents=True, exist_ok=True)
    details = {**result, "with_swaps": asdict(swapped), "without": asdict(quiet)}
    (folder / "swap.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    try:
        draw(folder / "swap.png", swapped, quiet)
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def draw(path: Path, swapped: Heard, quiet: Heard) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 4), layout="constrained")
    try:
        for colour, label, heard in ((COLOURS[1], "with swaps", swapped), (COLOURS[0], "without", quiet)):
            waits = sorted(heard.first_sound_ms)
            shares = [100 * (index + 1) / len(waits) for index in range(len(waits))]
            underruns = f"{len(heard.underrun_ms)} underruns"
            axes.step(waits, shares, where="post", color=colour, label=f"{label}: {len(waits)} answers, {underruns}")
        axes.set_title("A voice's model is replaced while it speaks", loc="left", color=INK, fontweight="bold")
        axes.set_ylabel("% of answers")
        axes.set_xlabel("from the question to the first sound, ms")
        axes.set_xlim(left=0)
        axes.legend(frameon=False)
        plain(axes)
        figure.supxlabel(machine(), fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.swap", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/local.yaml"), help="what is started (%(default)s)")
    parser.add_argument("--calls", type=positive, default=3, help="(%(default)s)")
    parser.add_argument("--swaps", type=positive, default=10, help="(%(default)s)")
    pause = "between an answer and the next question (%(default)s)"
    parser.add_argument("--pause-s", type=float, default=PAUSE_S, metavar="S", help=pause)
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where nobody was answered, 2 where there is no server; a time never decides."""
    args = _parser().parse_args(argv)
    key = secrets.token_urlsafe(16)
    try:
        model = json.loads(resolved_settings(args.config))["tts"]["model"]
        with started(args.config, {"ANTIPHON_ADMIN__API_KEY": key}) as url:
            swapped, quiet = asyncio.run(rounds(url, key, model, args.calls, args.swaps, args.pause_s))
    except CallFailed as wrong:
        print(f"loadtest.swap: {wrong}", file=sys.stderr)
        return 2
    for failure in sorted({*swapped.failed, *quiet.failed}):
        print(f"failed: {failure}", file=sys.stderr)
    if not swapped.first_sound_ms:
        return 1
    print(json.dumps(report(args.out, swapped, quiet, args.calls)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
