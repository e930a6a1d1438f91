"""A plan as a picture: each GPU a bar of its memory, each host a bar of its cores, and who sits there. SVG."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from cluster.capacity import expected_calls
from cluster.placement import Plan

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#b07aa1", "#9c755f", "#76b7b2", "#b6992d")
INK, FAINT, PAPER = "#333333", "#e4e4e4", "#ffffff"
WIDTH, LEFT, ROW, BAR, TOP = 900, 230, 34, 22, 52
LETTER = 7
"""About the width of a letter of 12 px: a name is written where it has the room."""

Part = tuple[str, str, float]
"""A deployment, what is written about it, and the share of the bar, 0 to 1."""


def draw(path: Path, plan: Plan) -> None:
    """Raises OSError where the file cannot be written."""
    path.write_text("\n".join(picture(plan)) + "\n", encoding="utf-8")


def picture(plan: Plan) -> Iterator[str]:
    rows = list(_rows(plan))
    height = TOP + ROW * len(rows) + 44
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">'
    yield f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>'
    calls = expected_calls(plan)
    yield _text(16, 30, f"About {calls.number} calls; the limit is {calls.limit}", size=16)
    colours = {need.deployment: COLOURS[index % len(COLOURS)] for index, need in enumerate(plan.needs)}
    for number, (label, parts) in enumerate(rows):
        yield from _row(TOP + ROW * number, label, parts, colours)
    x = 16.0
    for name, colour in colours.items():
        yield f'<rect x="{x:.0f}" y="{height - 28}" width="12" height="12" fill="{colour}"/>'
        yield _text(x + 17, height - 18, name)
        x += 34 + LETTER * len(name)
    yield "</svg>"


def _rows(plan: Plan) -> Iterator[tuple[str, list[Part]]]:
    cores = {need.deployment: need.cores for need in plan.needs}
    for index, host in enumerate(plan.hosts):
        for number, gpu in enumerate(host.gpus):
            memory = f" {gpu.memory_gb:g} GB" if gpu.memory_gb else ""
            sitting = plan.on_gpu(index, number)
            parts = [(seat.deployment, _said(seat.share, seat.memory_gb), seat.share) for seat in sitting]
            yield f"{host.name} gpu{number}: {gpu.kind}{memory}", parts
        reserved = ((seat.deployment, cores[seat.deployment]) for seat in plan.on_host(index))
        yield (
            f"{host.name}: {host.cores:g} cores",
            [(name, f"{amount:g}", amount / host.cores if host.cores else 0.0) for name, amount in reserved],
        )


def _said(share: float, memory_gb: float | None) -> str:
    return f"{share:g}" + (f" = {memory_gb:.1f} GB" if memory_gb is not None else "")


def _row(top: float, label: str, parts: Sequence[Part], colours: dict[str, str]) -> Iterator[str]:
    room = WIDTH - LEFT - 16
    yield _text(16, top + 15, label if len(label) * LETTER < LEFT else f"{label[: LEFT // LETTER - 3]}…")
    yield f'<rect x="{LEFT}" y="{top}" width="{room}" height="{BAR}" fill="{FAINT}" rx="3"/>'
    x = float(LEFT)
    for name, said, share in parts:
        width = share * room
        yield f'<rect x="{x:.1f}" y="{top}" width="{max(width - 1, 0.5):.1f}" height="{BAR}" fill="{colours[name]}">'
        yield f"<title>{escape(name)} {escape(said)}</title></rect>"
        written = next((text for text in (f"{name} {said}", name) if len(text) * LETTER + 8 < width), "")
        if written:
            yield _text(x + 5, top + 15, written, colour=PAPER)
        x += width


def _text(x: float, y: float, text: str, *, size: int = 12, colour: str = INK) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}">{escape(text)}</text>'
