"""The report of the scaling simulation: a table, JSON, and a picture of the day and of what waiting costs."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.picture import COLOURS, INK, plain
from loadtest.scaling_day import DAY_S, Day
from loadtest.scaling_runs import EVERY_S, LATE_S, Course


@dataclass(frozen=True, slots=True)
class Report:
    """`chosen`: the name of the course that the others are held against."""

    day: Day
    places: int
    chosen: str
    courses: Mapping[str, Course]

    def curve(self, prefix: str) -> list[tuple[float, float, str]]:
        """(GPU hours, % late, what was varied) of the courses with such a name."""
        found = [(each.gpu_hours, 100 * each.late, name) for name, each in self.courses.items()]
        return [(hours, late, name.removeprefix(prefix)) for hours, late, name in found if name.startswith(prefix)]


def table(courses: Mapping[str, Course]) -> str:
    head = f"{'':<26}{'refused':>8}{'given up':>9}{'late %':>8}{'p50 ms':>8}{'p90':>7}{'p95':>7}{'max':>8}"
    lines = [head + f"{'GPU h':>8}{'loads':>7}{'most':>6}"]
    for name, course in courses.items():
        wait = course.wait_ms
        waits = "".join(
            f"{value or 0:>{width}.0f}" for value, width in ((wait.p50, 8), (wait.p90, 7), (wait.p95, 7), (wait.max, 8))
        )
        lines.append(
            f"{name:<26}{course.refused:>8}{course.cut:>9}{100 * course.late:>8.2f}{waits}"
            f"{course.gpu_hours:>8.1f}{course.starts:>7}{max(course.replicas):>6}"
        )
    return "\n".join(lines)


def write(folder: Path, report: Report, given: Mapping[str, Any]) -> dict[str, Any]:
    """Print the table, save `scaling_simulation.json` and `.png`. Returns what the last line says."""
    calls = report.day.calls_at()
    print(f"A day of {len(report.day.begins_s)} calls, {calls.max()} at once at most, {calls.mean():.0f} on average")
    print(f"Late: waited for more than {1000 * LATE_S:.0f} ms. Serve quick: with our delays, by % of places in use")
    print(table(report.courses), flush=True)
    rows = {name: asdict(course) for name, course in report.courses.items()}
    series = {name: row.pop("replicas") for name, row in rows.items()}
    result = {"given": dict(given), "calls": len(report.day.begins_s), "most_calls": int(calls.max()), "courses": rows}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scaling_simulation"
    details = {**result, "replicas": series, "every_s": EVERY_S}
    path.with_suffix(".json").write_text(json.dumps(details) + "\n", encoding="utf-8")
    try:
        draw(path.with_suffix(".png"), report)
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def draw(path: Path, report: Report) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (calls, replicas, cost) = pyplot.subplots(
        3, 1, figsize=(10, 10), height_ratios=(2, 3, 3), layout="constrained"
    )
    try:
        _draw_calls(calls, report.day)
        _draw_replicas(replicas, report)
        _draw_cost(cost, report)
        for axes in (calls, replicas, cost):
            plain(axes)
        figure.suptitle("A day of calls, and the replicas for them", fontsize=15, fontweight="bold", color=INK)
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def _draw_calls(axes, day: Day) -> None:  # type: ignore[no-untyped-def]  # matplotlib's axes
    calls = day.calls_at()[::EVERY_S]
    axes.fill_between(np.arange(len(calls)) * EVERY_S / 3600, calls, color=COLOURS[6], alpha=0.6, linewidth=0)
    _hours(axes, "Calls in progress")


def _draw_replicas(axes, report: Report) -> None:  # type: ignore[no-untyped-def]
    day = report.day
    work, _ = np.histogram(day.asked_s, np.arange(0, DAY_S + 1, EVERY_S), weights=day.work_s)
    hours = np.arange(len(work)) * EVERY_S / 3600
    axes.fill_between(hours, work / EVERY_S / report.places, color="#cccccc", linewidth=0, label="work, by the minute")
    shown = (report.chosen, "Serve as it comes", "fixed")
    for colour, name in zip((COLOURS[0], COLOURS[3], COLOURS[5]), shown, strict=True):
        axes.step(hours, report.courses[name].replicas[: len(hours)], where="post", color=colour, label=name)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    _hours(axes, "Replicas")


def _hours(axes, title: str) -> None:  # type: ignore[no-untyped-def]
    axes.set_title(title, loc="left", color=INK)
    axes.set_xlim(0, 24)
    axes.set_xticks(range(0, 25, 3))
    axes.set_xlabel("hour of the day")
    axes.set_ylim(bottom=0)


def _draw_cost(axes, report: Report) -> None:  # type: ignore[no-untyped-def]
    curves = (("headroom ", COLOURS[0], "o-"), ("Serve quick, ", COLOURS[1], "o-"), ("Serve as", COLOURS[3], "D"))
    for prefix, colour, style in (*curves, ("fixed", COLOURS[5], "D")):
        points = sorted(report.curve(prefix))
        # On a logarithmic scale nothing has no place: one late request in a million is drawn for it.
        x, y = [hours for hours, _, _ in points], [max(late, 1e-4) for _, late, _ in points]
        axes.plot(x, y, style, color=colour, label=f"{prefix.strip(' ,')}{' it comes' if prefix == 'Serve as' else ''}")
        for hours, late, (_, _, label) in zip(x, y, points, strict=True):
            if style == "o-":
                axes.annotate(label, (hours, late), (5, 4), textcoords="offset points", fontsize=8, color=colour)
    axes.set_yscale("log")
    axes.set_title(f"What waiting costs: % of requests later than {1000 * LATE_S:.0f} ms", loc="left", color=INK)
    axes.set_xlabel("GPU hours")
    axes.legend(frameon=False, fontsize=9)
