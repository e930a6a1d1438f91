"""What people and programs read of an evaluation."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from serve_app.evaluation.replay import Verdict
from serve_app.evaluation.scores import Score, cut_ins, delays_ms
from serve_app.evaluation.search import Changes, Curve

KINDS = {
    "cut": "a sentence cut within",
    "unfinished": "an unfinished sentence",
    "within": "the speaker's own pause",
    "joined": "a whole sentence, then another (ambiguous)",
}


def table(verdicts: Sequence[Verdict]) -> str:
    """Finished turns by who said them, then pauses by what they are."""
    ends = [verdict for verdict in verdicts if not verdict.pause.goes_on]
    sources = sorted({verdict.pause.source for verdict in ends})
    lines = [f"{'silence before the verdict, ms':<44}{'p50':>7}{'p90':>7}{'max':>7}{'n':>6}"]
    lines += [_delays(source, [verdict for verdict in ends if verdict.pause.source == source]) for source in sources]
    lines += [_delays("all finished turns", ends), "", f"{'cut in on a caller who goes on after':<44}{'':>14}"]
    for kind, what in KINDS.items():
        count = cut_ins([verdict for verdict in verdicts if verdict.pause.kind == kind])
        lines.append(f"{what:<44}{count.happened:>7} of {count.of:<5}{100 * count.rate:>5.0f} %")
    return "\n".join(lines)


def _delays(name: str, ends: Sequence[Verdict]) -> str:
    delays = delays_ms(ends)
    figures = "".join(f"{value:>7.0f}" for value in np.percentile(delays, (50, 90, 100)))
    return f"{name:<44}{figures}{len(ends):>6}"


def comparison(curves: Sequence[Curve]) -> str:
    """Each judge's points, a line each."""
    lines = [f"{'':<34}{'p50 ms':>9}{'p90 ms':>9}{'cut-ins':>12}{'joined':>12}"]
    lines += [_row(f"{curve.name}: {point.label}", point.score) for curve in curves for point in curve.points]
    return "\n".join(lines)


def proposals(found: Sequence[tuple[Changes, Score, Score]]) -> str:
    """Option sets with their scores on the tuning part and, below, on the part held out."""
    lines = [f"{'':<34}{'p50 ms':>9}{'p90 ms':>9}{'cut-ins':>12}{'joined':>12}"]
    for changes, tuning, held_out in found:
        lines.append(" ".join(f"{name}={value}" for name, value in changes.items()))
        lines += [_row("  tuning", tuning), _row("  held out", held_out)]
    return "\n".join(lines)


def _row(name: str, score: Score) -> str:
    clear, joined = (f"{count.happened} of {count.of}" for count in (score.cut_ins, score.joined))
    return f"{name:<34}{score.p50_ms:>9.0f}{score.p90_ms:>9.0f}{clear:>12}{joined:>12}"


def as_message(scores: Mapping[str, Score], verdicts: Sequence[Verdict], **more: Any) -> dict[str, Any]:
    """JSON: the scores by part, and cut-ins by kind over all."""
    kinds = {kind: asdict(cut_ins([one for one in verdicts if one.pause.kind == kind])) for kind in KINDS}
    return {**{part: asdict(score) for part, score in scores.items()}, "cut_ins_by_kind": kinds, **more}
