"""The trade-off in a picture: how long finished turns wait, against how often callers are cut in on."""

from collections.abc import Sequence
from pathlib import Path

from serve_app.evaluation.search import Curve, Point

COLOURS = ("#bab0ac", "#f28e2b", "#4e79a7")
INK, FAINT, MARK = "#333333", "#dddddd", "#e15759"


def draw(path: Path, curves: Sequence[Curve], now: Point, about: str) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.6), sharey=True, layout="constrained")
    try:
        for axes, measure in zip(panels, ("p50_ms", "p90_ms"), strict=True):
            _panel(axes, curves, now, measure)
        panels[0].set_ylabel("pauses cut in on, %")
        panels[1].legend(frameon=False)
        figure.suptitle("When is the caller's turn over?", fontsize=14, fontweight="bold", color=INK)
        figure.supxlabel(about, fontsize=8, color="#777777")
        figure.savefig(path, dpi=100)
    finally:
        pyplot.close(figure)


def _panel(axes, curves: Sequence[Curve], now: Point, measure: str) -> None:  # type: ignore[no-untyped-def]
    for curve, colour in zip(curves, COLOURS, strict=True):
        waits = [getattr(point.score, measure) for point in curve.points]
        shares = [100 * point.score.cut_ins.rate for point in curve.points]
        axes.plot(waits, shares, "o-", color=colour, markersize=4, label=curve.name)
    wait, share = getattr(now.score, measure), 100 * now.score.cut_ins.rate
    axes.plot([wait], [share], "*", color=MARK, markersize=16, label=now.label)
    axes.annotate(
        f" {wait:.0f} ms, {share:.0f} %", (wait, share), color=MARK, xytext=(8, 6), textcoords="offset points"
    )
    axes.set_xlabel(f"silence before the verdict on a finished turn, {measure.removesuffix('_ms')}, ms")
    axes.set_xlim(0, 2000)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
