"""What a long call was like: a table, JSON and a picture of its turns and of the server's memory."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.picture import COLOURS, INK, plain
from loadtest.report import machine, table
from loadtest.statistics import summarise

EDGE = 20
"""Turns at the beginning, and at the end, that are held against each other."""

SHORTER = 0.8
"""A prompt that is shorter than this part of the one before was cut; an answer that was stopped takes less away."""


@dataclass(slots=True)
class Course:
    """What a call was like. `turns`: (number, ms from voice to voice), without those that failed. `prompts`: (number,
    tokens). `memory`: s since the beginning -> process -> MB. `models_ms`: the floor before the call and after it."""

    turns: list[tuple[int, float]] = field(default_factory=list)
    prompts: list[tuple[int, int]] = field(default_factory=list)
    memory: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    models_ms: tuple[float, float] | None = None
    wall_s: float = 0.0

    def cuts(self) -> int:
        """How often a prompt was much shorter than the one before: the oldest turns were left out."""
        tokens = [tokens for _, tokens in self.prompts]
        return sum(after < SHORTER * before for before, after in pairwise(tokens))

    def growth(self) -> float | None:
        """What the last turns take of what the first took, each in relation to the models' own time around them."""
        if self.models_ms is None or not self.turns:
            return None
        waited, (before_ms, after_ms) = [ms for _, ms in self.turns], self.models_ms
        return (median(waited[-EDGE:]) / after_ms) / (median(waited[:EDGE]) / before_ms)

    def rows(self) -> dict[str, list[float]]:
        """Of the table: ms from voice to voice, and tokens."""
        waited = [ms for _, ms in self.turns]
        rows = {"voice_to_voice_ms": waited, "first_turns_ms": waited[:EDGE], "last_turns_ms": waited[-EDGE:]}
        return {**rows, "prompt_tokens": [float(tokens) for _, tokens in self.prompts]}


def write(folder: Path, transport: str, course: Course) -> dict[str, Any]:
    """Print the table, save `long_call_TRANSPORT.json` and `.png`. Returns what the last line says."""
    rows = {name: summarise(values) for name, values in course.rows().items()}
    print(f"\nA long call, {len(course.turns)} turns in {course.wall_s:.0f} s", table(rows), sep="\n")
    memory = memory_of(course)
    for name, figures in memory.items():
        print(f"{name:<28} " + ", ".join(f"{word} {mb:.0f} MB" for word, mb in figures.items()))
    cuts = course.cuts() if course.prompts else None
    print(f"prompts cut: {'not told' if cuts is None else cuts}", flush=True)
    growth = course.growth()
    if growth is not None and course.models_ms is not None:
        before_ms, after_ms = course.models_ms
        print(
            f"models alone: {before_ms:.0f} ms before, {after_ms:.0f} ms after; the last turns take, in relation to "
            f"that, {growth:.0%} of the first",
            flush=True,
        )
    result: dict[str, Any] = {name: asdict(row) for name, row in rows.items()}
    result |= {"prompts_cut": cuts, "memory_mb": memory, "failed_turns": len(course.failures), "wall_s": course.wall_s}
    result |= {"models_ms": course.models_ms, "last_of_first": None if growth is None else round(growth, 3)}
    result |= {"transport": transport, "machine": machine()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"long_call_{transport}"
    path.with_suffix(".json").write_text(json.dumps({**result, **asdict(course)}, indent=1) + "\n", encoding="utf-8")
    try:
        draw(path.with_suffix(".png"), course)
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def memory_of(course: Course) -> dict[str, dict[str, float]]:
    """Process -> MB at the beginning, at most, and at the end."""
    names = dict.fromkeys(name for _, seen in course.memory for name in seen)
    over_time = {name: [seen[name] for _, seen in course.memory if name in seen] for name in names}
    return {name: {"first": mb[0], "most": max(mb), "last": mb[-1]} for name, mb in over_time.items()}


def draw(path: Path, course: Course) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (turns, memory) = pyplot.subplots(2, 1, figsize=(10, 6.5), layout="constrained")
    try:
        turns.plot(*zip(*course.turns, strict=True) if course.turns else ((), ()), "o", markersize=3, color=COLOURS[0])
        turns.set_title("Voice to voice, ms", loc="left", color=INK)
        turns.set_xlabel("turn")
        turns.set_ylim(bottom=0)
        for colour, name in zip(COLOURS * 3, memory_of(course), strict=False):
            seen = [(at_s, mb[name]) for at_s, mb in course.memory if name in mb]
            memory.plot(*zip(*seen, strict=True), color=colour, label=name)
        memory.set_title("Memory of the server's processes, MB", loc="left", color=INK)
        memory.set_xlabel("s")
        memory.set_ylim(bottom=0)
        if course.memory:
            memory.legend(frameon=False, fontsize=8)
        for axes in (turns, memory):
            plain(axes)
        figure.suptitle(f"A call of {len(course.turns)} turns", fontsize=15, fontweight="bold", color=INK)
        figure.supxlabel(machine(), fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)
