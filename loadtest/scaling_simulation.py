"""How many replicas should there be? A day of calls, under our policy, under Serve's own, and with a fixed fleet.

python -m loadtest.scaling_simulation [--policy MODULE:CLASS] [--options JSON] [--seed 1] [--out reports/]

A model whose replicas take `--load-s` to load serves the calls of an office's day. Policies are asked once a second,
with what Serve's controller would tell them; Serve's own policy, its delays and bounds are its own code. Prints for
each the calls that were refused or given up, waits, GPU hours and loads; draws the day, and how waiting is bought with
GPU hours. A voice that is seldom asked for follows, with no replica at all meanwhile. Ends with one line of JSON.

The policy is named by its import path, as in a Serve config, and so it can be any: this package knows nothing of the
server's code. Nothing is measured here: the same seed gives the same figures on every machine.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.arguments import positive
from loadtest.scaling_day import Day, make_day
from loadtest.scaling_policies import DEFAULT, Policy, loaded
from loadtest.scaling_report import Report, write
from loadtest.scaling_runs import Given, run_all

OURS = "cluster.autoscaling:ByForecast"
INGRESS = "cluster.autoscaling:ByCalls"
SWEPT = "headroom"
HEADROOMS = (0.0, 1.0, 1.5, 2.0, 3.0)
TARGETS = (1.0, 0.75, 0.6, 0.45)
"""Of its places, so many Serve's policy is to keep busy."""

SERVE_OURS = {"metrics_interval_s": 1.0, "look_back_period_s": 2.0, "upscale_delay_s": 0.0, "downscale_delay_s": 0.0}
"""As `serve_app.scaling` sets it: the delays are the policy's."""
SERVE_QUICK = {**SERVE_OURS, "look_back_period_s": 10.0, "downscale_delay_s": 300.0}
"""Serve's own policy with the delays of ours."""

MOST = 64
RARE_CALLS = 40
"""Of the day's calls, so many ask for the rare voice."""


def cases(args: argparse.Namespace, options: Mapping[str, float], day: Day) -> dict[str, tuple[Day, Given]]:
    """Name -> the day and what it is dealt with."""
    given = Given(args.places, args.load_s, args.patience_s, 1, MOST, args.ingress_policy)

    def ours(headroom: float) -> Given:
        return replace(given, policy=Policy(args.policy, {**options, SWEPT: headroom}, SERVE_OURS))

    def quick(part: float) -> Given:
        target = {"target_ongoing_requests": part * args.places}
        return replace(given, policy=Policy(DEFAULT, {}, SERVE_QUICK | target))

    serve = Policy(DEFAULT, {}, {"target_ongoing_requests": args.places})
    return {
        **{f"{SWEPT} {headroom:g}": (day, ours(headroom)) for headroom in sorted({*HEADROOMS, options[SWEPT]})},
        "Serve as it comes": (day, replace(given, policy=serve)),
        **{f"Serve quick, {100 * part:.0f} %": (day, quick(part)) for part in TARGETS},
        "fixed": (day, replace(given, fixed=fleet_for(day, args.places))),
    }


def rare_cases(args: argparse.Namespace, options: Mapping[str, float], day: Day) -> dict[str, tuple[Day, Given]]:
    """A voice that nobody asks for most of the time. Who asks for it waits until it is there."""
    given = Given(args.places, args.load_s, 2 * args.load_s, 0, 2, args.ingress_policy)
    ours = Policy(args.policy, options, SERVE_OURS)
    serve = Policy(DEFAULT, {}, {"target_ongoing_requests": args.places})
    return {
        "rare, by calls": (day, replace(given, policy=ours)),
        "rare, Serve as it comes": (day, replace(given, policy=serve)),
        "rare, always one": (day, replace(given, fixed=1)),
    }


def fleet_for(day: Day, places: int) -> int:
    """As large as somebody who knew the day would buy it: for the most calls there are, and two standard deviations."""
    work = day.work_s.sum() / (day.ends_s - day.begins_s).sum() * day.calls_at().max()
    return int(np.ceil((work + 2 * np.sqrt(work)) / places))


def policy_options(args: argparse.Namespace) -> dict[str, float]:
    """Of ours. A replica is missed for as long as it loads, and a second for Serve to notice."""
    known = {"target_streams": args.places, "load_s": args.load_s + 1, SWEPT: 2.0, "presumed_duty": 0.25}
    return {**known, "downscale_delay_s": 300.0, "idle_s": 900.0, **args.options}


def _json_object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError('expected a JSON object, such as {"headroom": 2}')
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.scaling_simulation", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--policy", default=OURS, metavar="MODULE:CLASS", help="(%(default)s)")
    parser.add_argument("--options", type=_json_object, default={}, metavar="JSON", help="options of that class")
    parser.add_argument("--ingress-policy", default=INGRESS, metavar="MODULE:CLASS", help="counts calls (%(default)s)")
    parser.add_argument(
        "--peak-calls", type=positive, default=60, metavar="N", help="at once at the peak (%(default)s)"
    )
    parser.add_argument("--places", type=positive, default=2, metavar="N", help="requests at once (%(default)s)")
    parser.add_argument("--load-s", type=float, default=30.0, metavar="S", help="a replica takes (%(default)s)")
    parser.add_argument("--patience-s", type=float, default=4.0, metavar="S", help="a caller has (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2 for a policy that cannot be had."""
    args = _parser().parse_args(argv)
    options = policy_options(args)
    chance = np.random.default_rng(args.seed)
    day = make_day(args.peak_calls, chance)
    rare = day.only(RARE_CALLS, chance)
    try:
        loaded(args.policy, options)
    except (ImportError, AttributeError, TypeError) as wrong:
        print(f"loadtest.scaling_simulation: {args.policy} with {json.dumps(options)}: {wrong}", file=sys.stderr)
        return 2
    courses = run_all({**cases(args, options, day), **rare_cases(args, options, rare)})
    report = Report(day, args.places, f"{SWEPT} {options[SWEPT]:g}", courses)
    print(json.dumps(write(args.out, report, vars(args) | {"out": str(args.out), "options": options})), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
