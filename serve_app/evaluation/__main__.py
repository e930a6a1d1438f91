"""How well a config's models judge the end of a turn: false cut-ins against delay.

python -m serve_app.evaluation [--config configs/local.yaml] [--options sound_weight=0.5 …] [--best 5] [--out FOLDER]

Callers' turns are cut, joined, interrupted by pauses and buried in noise, so that it is known of each pause whether the
turn is over. What the models say in each is asked once, which takes some minutes, and kept; then the judge of a call
is replayed over all of them, which takes seconds. Prints tables, then one JSON object; writes `trade_off.png`, and the
same as SVG for light and dark pages.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import yaml
from pydantic import ValidationError

from deployments.errors import AntiphonError
from deployments.in_process import Sections
from serve_app.call_options import TurnTakingOptions
from serve_app.evaluation.making import material, recordings_folder
from serve_app.evaluation.pauses import Material
from serve_app.evaluation.picture import DARK, LIGHT, draw
from serve_app.evaluation.report import as_message, comparison, proposals, table
from serve_app.evaluation.scores import by_options, judged, score
from serve_app.evaluation.search import Point, Trial, best, changed, curves
from serve_app.problems import SettingsError
from serve_app.settings import Settings, load_settings

TRIES = 400


def evaluate(found: Material, options: TurnTakingOptions, args: argparse.Namespace) -> None:
    """Everything that needs no model."""
    verdicts = judged(found.pauses, by_options(options), found.latencies)
    scores = {
        "tuning": score([verdict for verdict in verdicts if not verdict.pause.held_out]),
        "held_out": score([verdict for verdict in verdicts if verdict.pause.held_out]),
        "all": score(verdicts),
    }
    print(table(verdicts))
    trial = Trial(found.pauses, found.latencies)
    drawn = curves(trial, options)
    print("\nOther judges, over all pauses", comparison(drawn), sep="\n")
    if args.best:
        print(f"\nThe best of {args.tries} option sets", _proposed(found, options, args), sep="\n")
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        for name, theme in {"trade_off.png": LIGHT, "trade_off_light.svg": LIGHT, "trade_off_dark.svg": DARK}.items():
            draw(args.out / name, drawn, Point("as set", scores["all"]), theme)
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    message = as_message(scores, verdicts, options=options.model_dump(), latencies=asdict(found.latencies))
    print(json.dumps(message), flush=True)


def _proposed(found: Material, options: TurnTakingOptions, args: argparse.Namespace) -> str:
    tuning, held_out = (Trial(found.part(held_out=part), found.latencies) for part in (False, True))
    found_sets = best(tuning, options, args.tries, args.seed)
    kept = [one for one in found_sets if one[1].p50_ms <= args.within_ms][: args.best]
    return proposals(
        [(changes, tuned, held_out.score(by_options(changed(options, changes)))) for changes, tuned in kept]
    )


def _changes(given: Sequence[str]) -> Mapping[str, object]:
    """`key=value` …: values as in YAML."""
    return {name: yaml.safe_load(value) for name, _, value in (change.partition("=") for change in given)}


def _tell(step: str) -> None:
    print(f"\r\x1b[K{step}" if sys.stderr.isatty() else step, end="" if sys.stderr.isatty() else "\n", file=sys.stderr)


def _gathered(settings: Settings, args: argparse.Namespace) -> Material:
    sections = Sections.model_validate_json(settings.model_dump_json())
    found = asyncio.run(material(sections, settings.call, args.recordings, args.seed, _tell))
    given = dict(zip(("turn_ms", "transcript_ms", "sentence_end_ms"), args.latencies or (), strict=False))
    return replace(found, latencies=replace(found.latencies, **given))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2, with one line, for settings, options or a model that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m serve_app.evaluation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/local.yaml"), help="whose models (%(default)s)")
    parser.add_argument("--recordings", type=Path, default=recordings_folder(), help="people's speech (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides where is cut and for how long (%(default)s)")
    parser.add_argument("--options", nargs="+", default=[], metavar="KEY=VALUE", help="other `call.turn_taking`")
    parser.add_argument("--latencies", nargs=3, type=float, metavar="MS", help="of turn, ASR and LLM, if not measured")
    parser.add_argument("--best", type=int, default=0, metavar="N", help="propose so many better option sets")
    parser.add_argument("--tries", type=int, default=TRIES, help="that are tried for it (%(default)s)")
    parser.add_argument("--within-ms", type=float, default=400, help="and their longest median delay (%(default)g)")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder of the pictures (%(default)s)")
    args = parser.parse_args(argv)
    try:
        settings = load_settings(args.config)
        options = changed(settings.call.turn_taking, _changes(args.options))
        evaluate(_gathered(settings, args), options, args)
    except (AntiphonError, SettingsError, ValidationError, OSError) as wrong:
        print(f"serve_app.evaluation: {' '.join(str(wrong).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
