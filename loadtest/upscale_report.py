"""What a rush of calls came to under each policy: a table for people, a picture, JSON for programs."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.picture import COLOURS, INK, plain
from loadtest.report import machine, table
from loadtest.statistics import Summary, summarise
from loadtest.upscale_course import Course

FAILED = "#e15759"


def report(folder: Path, courses: Sequence[Course]) -> dict[str, Any]:
    """Print the table, save JSON and picture. Returns what the last line says."""
    rows = {name: row for course in courses for name, row in rows_of(course).items()}
    print("\nFor which callers wait in a turn, before the answer and where it stops", table(rows), sep="\n")
    print("\nSeconds from the first of the rush until so many replicas answer", _times(courses), sep="\n", flush=True)
    result = {"policies": {course.policy: _facts(course) for course in courses}, "machine": machine()}
    folder.mkdir(parents=True, exist_ok=True)
    full = {**result, "courses": [asdict(course) for course in courses]}
    (folder / "upscale.json").write_text(json.dumps(full, indent=1) + "\n", encoding="utf-8")
    try:
        draw(folder / "upscale.png", courses, machine())
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def rows_of(course: Course) -> dict[str, Summary]:
    """Of one caller alone, while the calls come, once all are there, and when they have left again."""
    times = {
        "alone": (0.0, course.begins_s),
        "they come": (course.begins_s, course.full_s),
        "all are there": (course.full_s, course.leave_s),
        "they have left": (course.leave_s, float("inf")),
    }
    return {f"{course.policy}: {name}": summarise(course.waits_ms(*span)) for name, span in times.items()}


def _facts(course: Course) -> dict[str, Any]:
    return {
        "until_s": {number: course.until(number) for number in range(2, course.most + 1)},
        "before": course.before,
        "until_gone_s": course.until_gone_s,
        "most_seen": max((number for _, number in course.seen), default=0),
        "turns": len(course.talk.turns),
        "failed": course.failed,
        "wait_ms": {name.partition(": ")[2]: asdict(row) for name, row in rows_of(course).items()},
    }


def _times(courses: Sequence[Course]) -> str:
    numbers = range(2, max(course.most for course in courses) + 1)
    names = "".join(f"{number:>8}" for number in numbers)
    lines = [f"{'':<12}{names}{'as before':>12}{'turns':>8}{'failed':>8}"]
    for course in courses:
        cells = "".join(f"{_seconds(course.until(number)):>8}" for number in numbers)
        left = f"{_seconds(course.until_gone_s):>12}{len(course.talk.turns):>8}{len(course.failed):>8}"
        lines.append(f"{course.policy:<12}{cells}{left}")
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def draw(path: Path, courses: Sequence[Course], machine: str) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        2,
        len(courses),
        figsize=(6.5 * len(courses), 6.5),
        layout="constrained",
        sharex=True,
        sharey="row",
        squeeze=False,
    )
    try:
        for column, course in enumerate(courses):
            _replicas(panels[0][column], course)
            _waits(panels[1][column], course)
        for row in panels:
            row[0].set_ylim(bottom=0)  # once all that shares the axis is drawn
        figure.suptitle("Replicas under a rush of calls", fontsize=15, fontweight="bold", color=INK)
        figure.supxlabel(machine, fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def _replicas(axes, course: Course) -> None:  # type: ignore[no-untyped-def]  # matplotlib's axes
    moments = sorted({moment for span in course.talk.here for moment in span})
    calls = [sum(came <= moment < left for came, left in course.talk.here) for moment in moments]
    at_s = [moment - course.begins_s for moment in moments]
    axes.step(at_s, calls, where="post", color="#999999", label="calls")
    axes.set_title(course.policy, loc="left", color=INK)
    axes.set_ylabel("calls")
    right = axes.twinx()
    seen = [(moment - course.begins_s, number) for moment, number in course.seen]
    right.step(*zip(*seen, strict=True), where="post", color=COLOURS[0], linewidth=2, label="replicas that answer")
    right.set_ylim(0, course.most + 0.5)
    right.set_yticks(range(course.most + 1))
    right.spines["top"].set_visible(False)
    lines = [*axes.get_lines(), *right.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], frameon=False, fontsize=9, loc="center right")
    plain(axes)


def _waits(axes, course: Course) -> None:  # type: ignore[no-untyped-def]
    points = [(turn.at_s - course.begins_s, turn.wait_ms / 1000) for turn in course.talk.turns]
    if points:
        axes.plot(*zip(*points, strict=True), "o", color=COLOURS[1], markersize=3)
    for at_s, what in ((course.full_s, "all are there"), (course.leave_s, "they leave")):
        axes.axvline(at_s - course.begins_s, color=FAILED, linewidth=0.9, linestyle=":")
        place = axes.get_xaxis_transform()
        axes.text(at_s - course.begins_s, 0.97, f" {what}", color=FAILED, transform=place, va="top", fontsize=8)
    axes.set_xlabel("s after the first of the rush")
    axes.set_ylabel("what a caller waits for in a turn, s")
    plain(axes)
