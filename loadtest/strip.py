"""A strip: both sides' sound of a take over time, with the moments on it, as SVG. Pure."""

from html import escape

import numpy as np

from loadtest.moments import Moment
from loadtest.recording import RATE_HZ
from loadtest.take import Take
from loadtest.voiced import Pcm

SECOND = 60  # pixels
HEIGHT, MARGIN, LANE = 170, 10, 44
CALLER, AGENT, INK, FAINT = "#4e79a7", "#f28e2b", "#333333", "#dddddd"
ROLE_COLOURS = {"turn": "#4e79a7", "interruption": "#e15759", "backchannel": "#59a14f", "noise": "#9c755f"}
MARKS = {"hears_voice": "hears", "answer_begins": "answers", "final": "words", "cut": "cut"}
"""Which moments are drawn, and how they are called there."""

LOUDEST_DB, QUIETEST_DB = -6.0, -60.0


def draw_strip(take: Take) -> str:
    """An SVG of its own size; scroll it sideways."""
    seconds = max(len(take.caller), len(take.agent)) / RATE_HZ
    width = 2 * MARGIN + round(seconds * SECOND)
    parts = [_grid(seconds), *(_span(said.role, said.voiced_first, said.voiced_last, said.what) for said in take.said)]
    parts += [_sound(take.caller, 20 + LANE / 2, CALLER), _sound(take.agent, 36 + 1.5 * LANE, AGENT)]
    parts += [_mark(moment) for moment in _drawn(take.moments)]
    parts += [_label(MARGIN, 16, "caller", CALLER), _label(MARGIN, 32 + LANE, "agent", AGENT)]
    box = f'viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="10"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} {style}>{"".join(parts)}</svg>'


def _drawn(moments: list[Moment]) -> list[Moment]:
    return [moment for moment in moments if moment.kind in MARKS]


def _grid(seconds: float) -> str:
    bottom = HEIGHT - 14
    lines = []
    for second in range(int(seconds) + 1):
        x = MARGIN + second * SECOND
        lines.append(f'<path d="M{x} 20V{bottom}" stroke="{FAINT}"/>')
        lines.append(_label(x, HEIGHT - 2, f"{second} s", "#777777"))
    return "".join(lines)


def _span(role: str, first: int, last: int, what: str) -> str:
    """Where something is said, behind its sound."""
    colour = ROLE_COLOURS[role]
    x, wide = _x(first), max(1.0, _x(last) - _x(first))
    title = f"<title>{escape(role)}: {escape(what)}</title>"
    return f'<rect x="{x:.1f}" y="20" width="{wide:.1f}" height="{LANE}" fill="{colour}" opacity="0.15">{title}</rect>'


def _sound(pcm: Pcm, middle: float, colour: str) -> str:
    """A bar a pixel, by its level in dB: quiet sounds are seen beside loud ones."""
    size = RATE_HZ // SECOND
    windows = pcm[: len(pcm) // size * size].reshape(-1, size).astype(np.float64) / 32768
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(np.mean(windows**2, axis=1))
    heights = np.clip((levels - QUIETEST_DB) / (LOUDEST_DB - QUIETEST_DB), 0, 1) * LANE / 2
    bars = [f"M{MARGIN + at} {middle - high:.1f}v{2 * high:.1f}" for at, high in enumerate(heights) if high >= 0.5]
    return f'<path d="{"".join(bars)}" stroke="{colour}"/>'


def _mark(moment: Moment) -> str:
    x, row = _x(moment.at), list(MARKS).index(moment.kind)
    y = 122 + 9 * row
    title = f"<title>{MARKS[moment.kind]} {moment.at / RATE_HZ:.2f} s {escape(moment.text)}</title>"
    line = f'<path d="M{x:.1f} 20V{y}" stroke="{INK}" stroke-dasharray="2 3" opacity="0.6"/>'
    return f"<g>{title}{line}{_label(x + 2, y, MARKS[moment.kind], INK)}</g>"


def _label(x: float, y: float, text: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(text)}</text>'


def _x(sample: int) -> float:
    return MARGIN + sample * SECOND / RATE_HZ
