"""The picture of a voice-to-voice report: where the median turn's time went, and how much turns differ."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from loadtest.overhead import Turn, median_turn
from loadtest.statistics import Summary

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#9c755f", "#76b7b2")
INK, FAINT = "#333333", "#dddddd"


def draw(path: Path, turns: Sequence[Turn], summaries: Mapping[str, Summary], machine: str) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (waterfall, spread) = pyplot.subplots(2, 1, figsize=(10, 6.5), height_ratios=(3, 2), layout="constrained")
    try:
        _waterfall(waterfall, median_turn(turns))
        _spread(spread, turns, summaries)
        figure.suptitle(f"Voice to voice, {len(turns)} turns", fontsize=15, fontweight="bold", color=INK)
        figure.supxlabel(machine, fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def _waterfall(axes, turn: Turn) -> None:  # type: ignore[no-untyped-def]  # matplotlib's axes
    segments = [(segment["name"], float(segment["ms"])) for segment in turn.timeline.get("segments", ())]
    rest = turn.voice_to_voice_ms - sum(ms for _, ms in segments)
    segments.append(("way and playing", max(0.0, rest)))
    reached = 0.0
    for row, (_, ms) in enumerate(segments):
        axes.barh(row, ms, left=reached, color=COLOURS[row % len(COLOURS)], height=0.7)
        axes.text(reached + ms, row, f"  {ms:.0f} ms", va="center", color=INK, fontsize=10)
        reached += ms
    axes.set_yticks(range(len(segments)), [name for name, _ in segments])
    axes.invert_yaxis()
    axes.set_title(f"The median turn: {turn.voice_to_voice_ms:.0f} ms", loc="left", color=INK)
    axes.set_xlabel("ms after the caller's last voiced sample")
    axes.set_xlim(0, max(reached, 1) * 1.12)
    plain(axes)


def _spread(axes, turns: Sequence[Turn], summaries: Mapping[str, Summary]) -> None:  # type: ignore[no-untyped-def]
    values = [turn.voice_to_voice_ms for turn in turns]
    axes.hist(values, bins=min(20, max(5, len(values) // 2)), color=COLOURS[0], alpha=0.85, rwidth=0.92)
    total, floor = summaries["voice_to_voice_ms"], summaries["floor_ms"]
    marks = (("floor p50", floor.p50, COLOURS[2]), ("p50", total.p50, INK), ("p90", total.p90, COLOURS[3]))
    for height, (label, value, colour) in zip((0.95, 0.82, 0.69), marks, strict=True):
        if value is not None:
            axes.axvline(value, color=colour, linewidth=1.6)
            place = axes.get_xaxis_transform()
            axes.text(value, height, f" {label} {value:.0f} ms", color=colour, transform=place, va="top", fontsize=9)
    axes.set_xlim(0, max(values) * 1.15)
    axes.set_xlabel("voice to voice, ms")
    axes.set_ylabel("turns")
    axes.yaxis.get_major_locator().set_params(integer=True)
    plain(axes)


def plain(axes) -> None:  # type: ignore[no-untyped-def]
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
