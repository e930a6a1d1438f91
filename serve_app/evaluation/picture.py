"""The trade-off in pictures: how long finished turns wait, against how often callers are cut in on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serve_app.evaluation.search import Curve, Point

Theme = Mapping[str, Any]

LIGHT: Theme = {
    "paper": "#ffffff", "ink": "#1d1c1a", "faint": "#e4e0d8", "curves": ("#8b857b", "#b5622f", "#0a635c"),
}  # fmt: skip
DARK: Theme = {
    "paper": "#1a1c1e", "ink": "#edece8", "faint": "#34373a", "curves": ("#8f9499", "#e0884f", "#72d2c6"),
}  # fmt: skip
LONGEST_MS = 2000
MEASURES = {"p50_ms": "half of them", "p90_ms": "nine in ten"}


def draw(path: Path, curves: Sequence[Curve], now: Point, theme: Theme = LIGHT) -> None:
    """A PNG or SVG, by the name; the same figures give the same file. Raises ImportError without matplotlib (the extra
    `bench`)."""
    with _figure(theme) as (figure, panels):
        for axes, (measure, whose) in zip(panels, MEASURES.items(), strict=True):
            _panel(axes, curves, now, measure, theme)
            axes.set_xlabel(f"ms until {whose} are judged over")
        panels[0].set_title("Pauses that are cut in on, %", loc="left", fontsize=10)
        panels[1].legend(frameon=False)
        figure.savefig(path, dpi=100, facecolor=theme["paper"], metadata=_UNDATED.get(path.suffix))


_UNDATED = {".svg": {"Date": None}}


@contextmanager
def _figure(theme: Theme) -> Iterator[tuple[Any, Any]]:
    """Two panels side by side, with text as text."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    look: Any = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme["ink"])
    look |= {"svg.fonttype": "none", "svg.hashsalt": "antiphon", "font.family": "sans-serif"}
    with pyplot.rc_context(look):
        figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), sharey=True, layout="constrained")
        try:
            yield figure, panels
        finally:
            pyplot.close(figure)


def _panel(axes: Any, curves: Sequence[Curve], now: Point, measure: str, theme: Theme) -> None:
    for curve, colour in zip(curves, theme["curves"], strict=True):
        waits = [getattr(point.score, measure) for point in curve.points]
        shares = [100 * point.score.cut_ins.rate for point in curve.points]
        axes.plot(waits, shares, "o-", color=colour, markersize=4, label=curve.name)
    wait, share = getattr(now.score, measure), 100 * now.score.cut_ins.rate
    axes.plot([wait], [share], "o", color=theme["ink"], markersize=11, markerfacecolor="none", label=now.label)
    axes.annotate(
        f"{wait:.0f} ms, {share:.0f} %", (wait, share), (10, 10), textcoords="offset points", fontweight="bold"
    )
    axes.set_facecolor(theme["paper"])
    axes.set_xlim(0, LONGEST_MS)
    axes.set_ylim(bottom=0)
    axes.spines[:].set_visible(False)
    axes.grid(color=theme["faint"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
