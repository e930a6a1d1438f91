"""The report of a voice-to-voice run: a table for people, JSON for programs."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.overhead import Turn, moment_table, overhead_ms, waited_ms
from loadtest.picture import draw
from loadtest.statistics import Summary, summarise


def machine() -> str:
    """What the figures were taken on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{_processor()}, {cores} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"
    )


def _processor() -> str:
    """Linux says it in /proc/cpuinfo, other systems by themselves."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def summaries(turns: Sequence[Turn], models_ms: Mapping[str, float]) -> dict[str, Summary]:
    """`models_ms`: file -> the models' own time, as `deployments.measure` calls `floor_ms`."""
    return {
        "voice_to_voice_ms": summarise(turn.voice_to_voice_ms for turn in turns),
        "floor_ms": summarise(models_ms[turn.file] + turn.round_trip_ms for turn in turns),
        "waited_ms": summarise(waited_ms(turn.moments) for turn in turns),
        "round_trip_ms": summarise(turn.round_trip_ms for turn in turns),
        "overhead_ms": summarise(overhead_ms(turn, models_ms[turn.file]) for turn in turns),
    }


def table(rows: Mapping[str, Summary], decimals: int = 0) -> str:
    """One line a row: name, p50, p90, p95, max, n."""
    lines = [f"{'ms' if decimals == 0 else '':<22}{'p50':>9}{'p90':>9}{'p95':>9}{'max':>9}{'n':>5}"]
    for name, row in rows.items():
        figures = "".join(
            f"{'-' if value is None else f'{value:.{decimals}f}':>9}" for value in (row.p50, row.p90, row.p95, row.max)
        )
        lines.append(f"{name:<22}{figures}{row.n:>5}")
    return "\n".join(lines)


def write(
    folder: Path, turns: Sequence[Turn], floor: Sequence[Mapping[str, Any]], failed: Sequence[str]
) -> dict[str, Any]:
    """Print the tables, save `voice_to_voice.json` and `voice_to_voice.png`. Returns what the last line says."""
    models_ms = {str(row["file"]): float(row["floor_ms"]) for row in floor if "file" in row}
    totals = summaries(turns, models_ms)
    moments = {name: summarise(values) for name, values in moment_table(turns).items()}
    print("\nMoments, after the caller's last voiced sample (the server's clock)", table(moments), sep="\n")
    print("\nTurns (the caller's clock)", table(totals), sep="\n", flush=True)
    result: dict[str, Any] = {name: asdict(row) for name, row in totals.items()}
    result |= {"failed_turns": len(failed), "machine": machine()}
    folder.mkdir(parents=True, exist_ok=True)
    rows = [_row(turn, models_ms[turn.file]) for turn in turns]
    details = {**result, "moments": {name: asdict(row) for name, row in moments.items()}, "turns": rows}
    details |= {"failures": list(failed), "models": list(floor)}
    (folder / "voice_to_voice.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    try:
        draw(folder / "voice_to_voice.png", turns, totals, machine())
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def _row(turn: Turn, models_ms: float) -> dict[str, Any]:
    floor_ms = models_ms + turn.round_trip_ms
    figures = {"floor_ms": floor_ms, "waited_ms": waited_ms(turn.moments), "overhead_ms": overhead_ms(turn, models_ms)}
    return {**asdict(turn), **{name: round(value, 1) for name, value in figures.items()}}
