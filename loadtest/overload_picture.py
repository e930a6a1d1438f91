"""The picture of an overload: who came when, got in or was refused, and how long the others waited for answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.picture import COLOURS, INK, plain

if TYPE_CHECKING:
    from loadtest.overload import Visit

PLANNED, TWICE, REFUSED = COLOURS[0], COLOURS[1], COLOURS[3]


def draw(path: Path, planned: "Sequence[Visit]", twice: "Sequence[Visit]", machine: str) -> None:
    """A PNG. Raises ImportError without matplotlib (the extra `bench`)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (arrivals, waits) = pyplot.subplots(2, 1, figsize=(10, 6.5), layout="constrained")
    try:
        _arrivals(arrivals, twice)
        _waits(waits, planned, twice)
        figure.suptitle("Twice as many callers as there is room for", fontsize=15, fontweight="bold", color=INK)
        figure.supxlabel(machine, fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def _arrivals(axes, visits: "Sequence[Visit]") -> None:  # type: ignore[no-untyped-def]  # matplotlib's axes
    """A stem for each caller: how long until they were refused, or that they got in."""
    let_in = [visit.arrived_s for visit in visits if visit.refused_ms is None]
    refused = [(visit.arrived_s, visit.refused_ms) for visit in visits if visit.refused_ms is not None]
    axes.plot(let_in, [0] * len(let_in), "o", color=TWICE, label="got in")
    if refused:
        times, after_ms = zip(*refused, strict=True)
        axes.vlines(times, 0, after_ms, color=REFUSED, linewidth=1.2)
        axes.plot(times, after_ms, "x", color=REFUSED, label="refused after")
    axes.set_ylabel("ms")
    axes.set_xlabel("arrival, s")
    axes.set_title("Arrivals", loc="left", color=INK)
    axes.legend(frameon=False)
    plain(axes)


def _waits(axes, planned: "Sequence[Visit]", twice: "Sequence[Visit]") -> None:  # type: ignore[no-untyped-def]
    """Shares of turns that were answered within so many milliseconds."""
    for visits, colour, label in ((planned, PLANNED, "as planned"), (twice, TWICE, "twice as many callers")):
        waits = sorted(ms for visit in visits for ms in visit.voice_to_voice_ms)
        shares = [100 * (index + 1) / len(waits) for index in range(len(waits))]
        axes.step(waits, shares, where="post", color=colour, label=f"{label} ({len(waits)} turns)")
    axes.set_ylabel("% of turns")
    axes.set_xlabel("answered within, ms")
    axes.set_xlim(left=0)
    axes.set_title("Voice to voice of those who got in", loc="left", color=INK)
    axes.legend(frameon=False)
    plain(axes)
