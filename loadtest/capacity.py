"""How many calls does a config hold on this machine, and how many does `antiphon plan` foretell?

python -m loadtest.capacity [--config configs/local.yaml] [--within-ms 500] [--seconds 40]

A server is started with the config as it is, and called over the socket by people who say a sentence of about three
seconds, hear an answer of `ANSWER_TOKENS` tokens, and speak again. A number of calls holds when every turn is answered,
and p95 of what callers wait (voice to voice, and silence within an answer because no more of it has come) is at most
`--within-ms` above p50 of one call alone. The number that `antiphon plan` foretells is tried first: it is of calls in
rooms, which cost the ingress more. The callers run on this machine, too: what they use of it is told, and the calls
that would hold without them.

Prints a table, saves JSON and a picture, and ends with one line of JSON; no time makes it fail.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.arguments import positive
from loadtest.capacity_report import Capacity, report
from loadtest.programs import run_module
from loadtest.scale_out_callers import Crowd
from loadtest.scale_out_level import Plan, measure
from loadtest.server import started
from loadtest.speech import resolved_settings, said
from loadtest.wire import CallFailed

TEXTS = (
    "Could you tell me something about the weather in the north of Italy?",
    "What would you cook for six friends who do not eat any meat?",
    "How do people who live by the sea spend the long winter evenings?",
)
"""About three seconds each, as `deployments.figures` takes a turn to begin."""
ANSWER_TOKENS = 25
"""Of each answer, as is taken there, too: some seven seconds."""
MOST_TIMES = 2
"""More calls than so many times those foretold are not tried."""
PLAN_S = 60.0


def foretold(config: Path) -> int:
    """Calls at once. Raises CallFailed where the plan does not say."""
    text = run_module("serve_app.cli", "plan", str(config), timeout_s=PLAN_S)
    found = re.search(r"about (\d+) calls? at once", text)
    if found is None:
        raise CallFailed(f"{config}: the plan does not say how many calls there can be")
    return int(found[1])


def run(args: argparse.Namespace) -> Capacity:
    """Raises CallFailed."""
    settings, plan = resolved_settings(args.config), foretold(args.config)
    files, most = [said(text, settings) for text in TEXTS], max(2, MOST_TIMES * plan)
    print(f"{args.config}: the plan foretells {plan} calls", flush=True)
    with Crowd(most) as crowd, started(args.config, {"ANTIPHON_INGRESS__MAX_CALLS": str(most)}) as url:
        talk = Plan(files, args.seconds, args.within_ms, args.steps, most, {"max_output_tokens": ANSWER_TOKENS})
        level = measure(url, crowd, talk, 1, 1, plan)
    return Capacity(args.config.name, plan, level)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.capacity", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--within-ms", type=positive, default=500, metavar="MS", help="above one call (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=40, metavar="S", help="of talk in a step (%(default)s)")
    parser.add_argument("--steps", type=positive, default=5, metavar="N", help="at most (%(default)s)")
    parser.add_argument("--config", type=Path, default=Path("configs/local.yaml"), help="what is started (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where no number of calls held, 2 where there is no server; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        found = run(args)
    except CallFailed as wrong:
        print(f"loadtest.capacity: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report(args.out, found)), flush=True)
    return 0 if found.level.best else 1


if __name__ == "__main__":
    sys.exit(main())
