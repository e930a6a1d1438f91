"""How many calls held, beside those foretold: a table for people, a picture, JSON for programs."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadtest.picture import COLOURS, INK, plain
from loadtest.report import machine, table
from loadtest.scale_out_steps import Level, Step

LIMIT = "#e15759"


@dataclass(frozen=True, slots=True)
class Capacity:
    """`foretold` by `antiphon plan` for this config, and what was measured."""

    config: str
    foretold: int
    level: Level

    @property
    def without_callers(self) -> float:
        """Calls that would hold if the callers ran elsewhere, where this machine's cores are the limit."""
        best = self.level.best
        if best is None or self.level.limit != "machine":
            return self.level.calls
        cores = os.cpu_count() or 1
        return round(self.level.calls * cores / max(0.1, cores - best.used.cores.get("callers", 0.0)), 1)

    def cores_a_call(self, step: Step) -> float:
        """Of the server's processes."""
        idle = sum(self.level.idle.cores.values())
        used = sum(cores for name, cores in step.used.cores.items() if name != "callers")
        return (used - idle) / step.calls


def report(folder: Path, found: Capacity) -> dict[str, Any]:
    """Print the table, save JSON and picture. Returns what the last line says."""
    level = found.level
    steps = sorted((level.alone, *level.steps), key=lambda step: step.calls)
    rows = {f"{step.calls} calls, {_verdict(found, step)}": step.wait_ms for step in steps}
    print(f"\nFor which callers wait in a turn, {found.config}", table(rows), sep="\n")
    print("\nWhat they use", _uses(found, steps), sep="\n")
    result: dict[str, Any] = {
        "config": found.config,
        "foretold": found.foretold,
        "calls": level.calls,
        "without_callers": found.without_callers,
        "foretold_of_measured": round(found.foretold / level.calls, 3) if level.calls else None,
        "limit": level.limit,
        "limit_ms": level.limit_ms,
        "steps": [_step(found, step) for step in steps],
        "machine": machine(),
    }
    print(f"\n{level.calls:g} calls hold, {found.foretold} were foretold; the limit: {level.limit}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    full = {**result, "level": asdict(level)}
    (folder / "capacity.json").write_text(json.dumps(full, indent=1) + "\n", encoding="utf-8")
    try:
        draw(folder / "capacity.png", found, steps)
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def _verdict(found: Capacity, step: Step) -> str:
    if step.failed:
        return f"{len(step.failed)} failed"
    return "hold" if step.holds(found.level.limit_ms) else "too late"


def _step(found: Capacity, step: Step) -> dict[str, Any]:
    return {
        "calls": step.calls,
        "wait_ms": asdict(step.wait_ms),
        "failed": len(step.failed),
        "machine_busy_percent": round(100 * step.used.machine, 1),
        "cores_a_call": round(found.cores_a_call(step), 3),
        "cores": {name: round(cores, 3) for name, cores in step.used.cores.items()},
    }


def _uses(found: Capacity, steps: list[Step]) -> str:
    names = ("models", "ingress", "door", "callers")
    lines = [f"{'calls':>5}{'machine':>9}" + "".join(f"{name:>9}" for name in names) + f"{'cores a call':>14}"]
    for step in steps:
        cells = "".join(f"{100 * step.used.cores.get(name, 0.0):>7.0f} %" for name in names)
        lines.append(f"{step.calls:>5}{100 * step.used.machine:>7.0f} %{cells}{found.cores_a_call(step):>14.3f}")
    return "\n".join(lines)


def draw(path: Path, found: Capacity, steps: list[Step]) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.8), layout="constrained")
    try:
        for name, colour in (("p50", COLOURS[0]), ("p95", COLOURS[1])):
            points = [(step.calls, value) for step in steps if (value := getattr(step.wait_ms, name)) is not None]
            axes.plot(*zip(*points, strict=True), "o-", color=colour, label=name) if points else None
        axes.axhline(found.level.limit_ms, color=LIMIT, linewidth=0.9, linestyle=":", label="the most that holds")
        axes.axvline(found.foretold, color="#999999", linestyle="--", label="foretold by the plan")
        axes.set_xlabel("calls at once")
        axes.set_ylabel("what a caller waits for in a turn, ms")
        axes.set_ylim(bottom=0)
        axes.set_xlim(left=0)
        axes.legend(frameon=False, fontsize=9)
        axes.set_title(f"Calls that {found.config} holds", loc="left", fontweight="bold", color=INK)
        plain(axes)
        figure.supxlabel(machine(), fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)
