"""What callers noticed of failures: a table, JSON and a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.failures_calls import Course
from loadtest.picture import COLOURS, INK, plain
from loadtest.report import machine
from loadtest.statistics import Summary, summarise

UNDISTURBED, DISTURBED = COLOURS[0], COLOURS[3]


def write(folder: Path, courses: Sequence[Course], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Print the table, save `failures.json` and `failures.png`. Returns what the last line says."""
    kinds = {course.kind: figures(course) for course in courses}
    print("\nThe longest silence that a caller heard in a turn, ms", table(courses), sep="\n", flush=True)
    result: dict[str, Any] = {
        "calls_lost": sum(len(course.lost) for course in courses),
        "turns_failed": sum(len(course.failed) for course in courses),
        "all": {name: asdict(row) for name, row in totals(courses).items()},
        "kinds": kinds,
        **settings,
        "machine": machine(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    details = {**result, "courses": [asdict(course) for course in courses]}
    (folder / "failures.json").write_text(json.dumps(details, indent=1) + "\n", encoding="utf-8")
    try:
        draw(folder / "failures.png", courses)
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def figures(course: Course) -> dict[str, Any]:
    """Of one kind, for the JSON."""
    return {
        "strikes": len(course.strikes),
        "turns": len(course.turns),
        "turns_disturbed": sum(course.disturbed(turn) for turn in course.turns),
        "turns_failed": len(course.failed),
        "calls_lost": len(course.lost),
        "silence_ms": asdict(summarise(course.silences_ms(disturbed=True))),
        "undisturbed_silence_ms": asdict(summarise(course.silences_ms(disturbed=False))),
        "absence_ms": asdict(summarise(course.absences_ms)),
    }


def totals(courses: Sequence[Course]) -> dict[str, Summary]:
    """Of all kinds together."""
    return {
        name: summarise(ms for course in courses for ms in course.silences_ms(disturbed=disturbed))
        for name, disturbed in (("all disturbed", True), ("all undisturbed", False))
    }


def table(courses: Sequence[Course]) -> str:
    """Two lines a kind: turns in which a process was struck, and the others of the same calls; then all of them. In
    rooms a third: how long calls were without an agent."""
    names = ("strikes", "lost", "failed", "p50", "p90", "p95", "max", "n")
    lines = [f"{'':<20}{'turns':<12}" + "".join(f"{name:>8}" for name in names)]
    for course in courses:
        counts = (len(course.strikes), len(course.lost), len(course.failed))
        disturbed = summarise(course.silences_ms(disturbed=True))
        lines.append(f"{course.kind:<20}{'disturbed':<12}" + "".join(f"{n:>8}" for n in counts) + _cells(disturbed))
        undisturbed = summarise(course.silences_ms(disturbed=False))
        lines.append(f"{'':<20}{'undisturbed':<12}" + " " * 24 + _cells(undisturbed))
        if absences_ms := course.absences_ms:
            lines.append(f"{'':<20}{'no agent':<12}" + " " * 24 + _cells(summarise(absences_ms)))
    lines += [f"{name:<20}{'':<12}" + " " * 24 + _cells(row) for name, row in totals(courses).items()]
    return "\n".join(lines)


def _cells(row: Summary) -> str:
    values = (row.p50, row.p90, row.p95, row.max)
    return "".join(f"{'-' if value is None else f'{value:.0f}':>8}" for value in values) + f"{row.n:>8}"


def draw(path: Path, courses: Sequence[Course]) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 1.6 + 0.55 * len(courses)), layout="constrained")
    try:
        for row, course in enumerate(courses):
            for disturbed, colour, above in ((False, UNDISTURBED, -0.14), (True, DISTURBED, 0.14)):
                silences_ms = course.silences_ms(disturbed=disturbed)
                axes.plot(silences_ms, [row + above] * len(silences_ms), "o", color=colour, alpha=0.55, markersize=5)
            if course.failed or course.lost:
                lost = f"{len(course.failed)} failed, {len(course.lost)} lost"
                axes.text(
                    1.0, row, lost, color=DISTURBED, transform=axes.get_yaxis_transform(), ha="right", va="center"
                )
        axes.plot([], [], "o", color=DISTURBED, label="a process was struck during the turn")
        axes.plot([], [], "o", color=UNDISTURBED, label="undisturbed turns of the same calls")
        axes.set_yticks(range(len(courses)), [course.kind for course in courses])
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_xlabel("longest silence that the caller heard in the turn, ms")
        axes.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        plain(axes)
        turns = sum(len(course.turns) for course in courses)
        figure.suptitle(f"Failures under calls, {turns} turns", fontsize=15, fontweight="bold", color=INK)
        figure.supxlabel(machine(), fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)
