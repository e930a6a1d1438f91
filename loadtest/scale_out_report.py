"""What scaling out gave: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.report import machine, table
from loadtest.scale_out_level import Cost, cost
from loadtest.scale_out_picture import draw
from loadtest.scale_out_steps import Level, Step
from loadtest.statistics import Summary

IN_THE_WAY = {
    "engines": "the engines' stated rate",
    "machine": "the machine's cores",
    "ingress": "the one core that an ingress replica can use",
    "not reached": "nothing: more were not tried",
}


@dataclass(frozen=True, slots=True)
class Found:
    """`bare`: what a connection to the bare server cost, with as many as the most calls that held."""

    levels: Sequence[Level]
    calls_a_replica: int
    phrase_ms: float
    within_ms: float
    bare: Cost | None

    def efficiency(self, level: Level) -> float | None:
        """Calls that held, to those of the smallest level times as many as it has replicas."""
        first = self.levels[0]
        linear = first.calls * level.replicas / first.replicas
        return round(level.calls / linear, 3) if linear else None

    @property
    def busiest(self) -> Level:
        """Where the most calls held."""
        return max(self.levels, key=lambda level: level.best.calls if level.best else 0)


def report(folder: Path, found: Found) -> dict[str, Any]:
    """Print the tables, save JSON and picture. Returns what the last line says."""
    socket, levels = cost(found.busiest), [_level(found, level) for level in found.levels]
    rows = _rows(found.levels)
    limited = [level.replicas for level in found.levels if level.limit in ("machine", "ingress")]
    result: dict[str, Any] = {
        "levels": levels,
        "processor_is_the_limit_from_replicas": min(limited, default=None),
        "socket": _cost(socket),
        "bare": _cost(found.bare),
        "calls_a_replica": found.calls_a_replica,
        "phrase_ms": round(found.phrase_ms, 1),
        "within_ms": found.within_ms,
        "failed_turns": sum(len(step.failed) for level in found.levels if (step := level.best)),
        "machine": machine(),
    }
    print("\nFor which callers wait in a turn, before the answer and where it stops", table(rows), sep="\n")
    print("\nCalls that hold", _levels(levels), sep="\n")
    print("\nA call", _costs({"over the socket": socket, "bare WebSocket": found.bare}), sep="\n", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    full = {
        **result,
        "rows": {name: asdict(row) for name, row in rows.items()},
        "details": [*map(asdict, found.levels)],
    }
    (folder / "scale_out.json").write_text(json.dumps(full, indent=1) + "\n", encoding="utf-8")
    try:
        draw(folder / "scale_out.png", found, machine())
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def _rows(levels: Sequence[Level]) -> dict[str, Summary]:
    rows = {}
    for level in levels:
        rows[f"{level.replicas} x, alone"] = level.alone.wait_ms
        steps: dict[str, Step | None] = {"hold": level.best, "do not": level.broken}
        rows |= {f"{level.replicas} x, {step.calls} {what}": step.wait_ms for what, step in steps.items() if step}
        if best := level.best:
            rows[f"{level.replicas} x, {best.calls} voice to voice"] = best.voice_to_voice_ms
    return rows


def _level(found: Found, level: Level) -> dict[str, Any]:
    best, broken = level.best, level.broken
    return {
        "replicas": level.replicas,
        "calls": level.calls,
        "whole_calls": best.calls if best else 0,
        "broken_at": broken.calls if broken else None,
        "efficiency": found.efficiency(level),
        "of_the_stated_rate": round(level.calls / (level.replicas * found.calls_a_replica), 3),
        "limit": level.limit,
        "wait_ms": asdict(best.wait_ms) if best else None,
        "voice_to_voice_ms": asdict(best.voice_to_voice_ms) if best else None,
        "machine_busy_percent": round(100 * best.used.machine, 1) if best else None,
        "cores": {name: round(cores, 3) for name, cores in best.used.cores.items()} if best else {},
    }


def _levels(levels: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'replicas':>8}{'calls':>8}{'linear':>9}{'of rate':>9}{'machine':>9}{'ingress':>9}  in the way of more"]
    for level in levels:
        efficiency, busy = level["efficiency"], level["machine_busy_percent"]
        cells = (
            f"{level['calls']:.1f}",
            "-" if efficiency is None else f"{100 * efficiency:.0f} %",
            f"{100 * level['of_the_stated_rate']:.0f} %",
            "-" if busy is None else f"{busy:.0f} %",
            f"{100 * level['cores'].get('ingress', 0.0):.0f} %",
        )
        figures = f"{cells[0]:>8}" + "".join(f"{cell:>9}" for cell in cells[1:])
        lines.append(f"{level['replicas']:>8}{figures}  {IN_THE_WAY[level['limit']]}")
    return "\n".join(lines)


def _cost(known: Cost | None) -> dict[str, Any] | None:
    if known is None:
        return None
    return {
        "calls": known.calls,
        "core_percent_a_call": known.core_percent,
        "calls_a_core": known.calls_a_core,
        "mb_a_call": known.mb,
    }


def _costs(rows: dict[str, Cost | None]) -> str:
    lines = [f"{'':<18}{'% of a core':>12}{'calls a core':>14}{'MB':>8}{'n':>5}"]
    for name, known in rows.items():
        if known is not None:
            a_core = "-" if known.calls_a_core is None else f"{known.calls_a_core:.0f}"
            lines.append(f"{name:<18}{known.core_percent:>12.2f}{a_core:>14}{known.mb:>8.2f}{known.calls:>5}")
    return "\n".join(lines)
