"""The picture of scaling out: calls that hold beside a straight line, and what each number of calls did."""

from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.picture import COLOURS, INK, plain

if TYPE_CHECKING:
    from loadtest.scale_out_report import Found

BROKEN = "#e15759"


def draw(path: Path, found: "Found", machine: str) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 3, figsize=(13, 4.8), layout="constrained", width_ratios=(3, 4, 2))
    try:
        _calls(panels[0], found)
        _waits(panels[1], found)
        _costs(panels[2], found)
        figure.suptitle("Calls that hold with more replicas", fontsize=15, fontweight="bold", color=INK)
        figure.supxlabel(machine, fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def _calls(axes, found: "Found") -> None:  # type: ignore[no-untyped-def]  # matplotlib's axes
    levels = found.levels
    numbers = [level.replicas for level in levels]
    linear = [levels[0].calls * number / levels[0].replicas for number in numbers]
    axes.plot(numbers, linear, "--", color="#999999", label="linear")
    axes.plot(numbers, [level.calls for level in levels], "o-", color=COLOURS[0], label="calls that hold")
    for level in levels:
        efficiency = found.efficiency(level)
        words = [*(["-"] if efficiency is None else [f"{100 * efficiency:.0f} %"]), level.limit]
        axes.annotate("\n".join(words), (level.replicas, level.calls), (6, -6), textcoords="offset points",
                      va="top", fontsize=8, color=INK)  # fmt: skip
    axes.set_xticks(numbers)
    axes.set_xlim(0, max(numbers) * 1.3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("replicas of each model")
    axes.set_ylabel("calls at once")
    axes.legend(frameon=False, loc="upper left", fontsize=9)
    plain(axes)


def _waits(axes, found: "Found") -> None:  # type: ignore[no-untyped-def]
    """p95 of each step over the calls of a replica: equal curves are a system that scales."""
    for index, level in enumerate(found.levels):
        colour = COLOURS[index % len(COLOURS)]
        seen = sorted((step.calls / level.replicas, step.wait_ms.p95) for step in level.steps if step.turns)
        axes.plot(*zip(*seen, strict=True), "o-", color=colour, label=f"{level.replicas} x") if seen else None
        failed = [(step.calls / level.replicas, step.wait_ms.p95) for step in level.steps if step.failed and step.turns]
        for calls, wait_ms in failed:
            axes.plot(calls, wait_ms, "x", color=BROKEN, markersize=11)
        axes.axhline(level.limit_ms, color=colour, linewidth=0.9, linestyle=":")
    axes.set_xlabel("calls a replica")
    axes.set_ylabel("p95 of what callers wait in a turn, ms")
    axes.set_title("dotted: the most that holds; cross: turns failed", loc="left", fontsize=9, color=INK)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    plain(axes)


def _costs(axes, found: "Found") -> None:  # type: ignore[no-untyped-def]
    """Part of all cores that was busy, by calls."""
    cores = [(step.calls, 100 * step.used.machine) for level in found.levels for step in (level.alone, *level.steps)]
    ingress = [
        (step.calls, 100 * step.used.cores.get("ingress", 0.0) / level.ingress)
        for level in found.levels
        for step in (level.alone, *level.steps)
    ]
    for points, colour, label in ((cores, COLOURS[4], "all cores"), (ingress, COLOURS[2], "an ingress's core")):
        axes.plot(*zip(*sorted(points), strict=True), "o", color=colour, label=label, markersize=5)
    axes.set_ylim(0, 105)
    axes.set_xlabel("calls at once")
    axes.set_ylabel("% busy")
    axes.legend(frameon=False, fontsize=9)
    plain(axes)
