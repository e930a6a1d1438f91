"""What the benchmarks of rooms share: whom they call, what they found, and how it is shown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from loadtest.report import machine, table
from loadtest.room_ticket import Keys, Ticket, request_ticket
from loadtest.statistics import Summary, summarise
from loadtest.wire import CallFailed

HOW_TO_HAVE_KEYS = (
    "Without --url a server with keys of its own is started for the run. For one that runs, set LIVEKIT_URL, "
    "LIVEKIT_API_KEY and LIVEKIT_API_SECRET here. `antiphon up` makes keys that nobody knows; where it is started with "
    "LIVEKIT_API_KEY and LIVEKIT_API_SECRET, and without LIVEKIT_URL, it takes those. It says LIVEKIT_URL after `rooms`"
)


@dataclass(frozen=True, slots=True)
class Target:
    """The server that is called, with the settings of `config`; `keys` where the LiveKit server's are known."""

    url: str
    config: Path
    speech: Path | None = None
    api_key: str | None = None
    keys: Keys | None = None

    async def ticket(self, metadata: Mapping[str, Any] | None = None) -> Ticket:
        """For a room of its own, from the token endpoint. Raises `CallFailed`."""
        return await request_ticket(self.url, api_key=self.api_key, metadata=metadata)

    def need_keys(self, what: str) -> Keys:
        if self.keys is None:
            raise CallFailed(f"{what} needs the keys of the LiveKit server. {HOW_TO_HAVE_KEYS}")
        return self.keys


@dataclass(slots=True)
class Findings:
    """`values`: row of the table -> what was measured, its unit at the end of its name. `facts` are single figures.
    Rows that are to be compared are drawn on `one_scale`."""

    name: str
    title: str
    one_scale: bool = False
    values: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    details: list[Any] = field(default_factory=list)

    def add(self, row: str, *values: float | None) -> None:
        """A row appears with its first value, or without any."""
        self.values.setdefault(row, []).extend(value for value in values if value is not None)

    def fail(self, what: str) -> None:
        print(f"failed: {what}", flush=True)
        self.failures.append(what)

    def summaries(self) -> dict[str, Summary]:
        return {row: summarise(values) for row, values in self.values.items()}


def write(folder: Path, found: Findings, prefix: str = "rooms_") -> dict[str, Any]:
    """Print the table, save `rooms_NAME.json` and `.png` (or with another prefix). Returns what the last line says."""
    totals = found.summaries()
    print(f"\n{found.title}", table(totals, decimals=1), sep="\n")
    for name, figure in found.facts.items():
        print(f"{name:<32} {figure}")
    result: dict[str, Any] = {"benchmark": found.name, **{name: asdict(row) for name, row in totals.items()}}
    result |= {**found.facts, "failed": len(found.failures), "machine": machine()}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix}{found.name}"
    full = {**result, "failures": found.failures, "values": found.values, "details": found.details}
    path.with_suffix(".json").write_text(json.dumps(full, indent=1) + "\n", encoding="utf-8")
    try:
        draw(path.with_suffix(".png"), found)
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    return result


def draw(path: Path, found: Findings) -> None:
    """A PNG: every value of every row as a dot, the median as a line. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [(name, values) for name, values in found.values.items() if values]
    if not rows:
        return
    height = 1.2 + 1.1 * len(rows)
    figure, axes = pyplot.subplots(len(rows), 1, figsize=(10, height), layout="constrained", squeeze=False)
    everything = [value for _, values in rows for value in values]
    try:
        for panel, (name, values) in zip(axes[:, 0], rows, strict=True):
            _dots(panel, name, values, everything if found.one_scale else values)
        figure.suptitle(found.title, fontsize=13, fontweight="bold")
        figure.supxlabel(machine(), fontsize=8, color="#777777")
        figure.savefig(path, dpi=150)
    finally:
        pyplot.close(figure)


def _dots(  # type: ignore[no-untyped-def]  # matplotlib's axes
    axes, name: str, values: Sequence[float], scale: Sequence[float]
) -> None:
    """On an axis for all of `scale`."""
    spread = [(index * 0.618) % 1 for index in range(len(values))]  # so that equal values are seen beside each other
    axes.plot(values, spread, "o", markersize=4, alpha=0.5, color="#4e79a7")
    middle = summarise(values).p50
    axes.axvline(middle, color="#e15759", linewidth=1.6)
    axes.set_title(f"{name}: p50 {middle}", loc="left", fontsize=9)
    axes.set_xlim(min(0.0, min(scale)), max(max(scale), 1e-3) * 1.05)
    axes.set_ylim(-0.2, 1.2)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
