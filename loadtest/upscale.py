"""How soon are there replicas when calls come, and what do the callers notice? Our policy, and Serve's own.

python -m loadtest.upscale [--replicas 4] [--calls-a-replica 4] [--policies forecast,queue] [--config configs/demo.yaml]

For each policy a server is started whose voice may have one replica and up to `--replicas`. One caller talks; then as
many more come, evenly within `--rush-s`, as would keep all replicas busy, talk for `--seconds` and leave again. The
engines are synthetic and their rate is stated, as in `loadtest.scale_out`; a replica takes as long to come as a process
of Ray's takes to start here. Serve's own policy looks at the requests that there are, with Serve's own delays.

Prints when which number of replicas answered, and what callers waited for (voice to voice, and silence within an answer
because no more of it has come) while the number grew, once the rush was over, and when the replicas had gone again.
Saves JSON and a picture, and ends with one line of JSON; no time makes it fail. Everything runs on this machine.
"""

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.arguments import positive
from loadtest.scale_out import TEXTS, phrase_ms, variables, with_a_stated_rate
from loadtest.scale_out_callers import A_PROCESS, Crowd
from loadtest.server import started
from loadtest.speech import said
from loadtest.upscale_course import Course, Rush, course
from loadtest.upscale_report import report
from loadtest.wire import CallFailed

POLICIES = ("forecast", "queue")
DOWN_S = 10.0
"""Our policy is to let replicas go so soon after they were wanted last: a person does not want to wait for minutes."""
LOAD_S = 8.0
"""That a replica takes here, as our policy is told: a process of Ray's, and no weights."""


def settings_of(policy: str, args: argparse.Namespace, key: str, each_phrase_ms: float) -> dict[str, str]:
    """Of the server, as variables."""
    most = args.replicas * args.calls_a_replica
    scaling = {"POLICY": policy, "LOAD_S": str(LOAD_S), "DOWNSCALE_DELAY_S": str(DOWN_S)}
    return {
        **variables(1, 1, most + 1, each_phrase_ms),
        **{f"ANTIPHON_TTS__SCALING__{name}": value for name, value in scaling.items()},
        "ANTIPHON_TTS__MAX_REPLICAS": str(args.replicas),
        "ANTIPHON_ADMIN__API_KEY": key,
    }


def run(args: argparse.Namespace) -> list[Course]:
    """Raises CallFailed."""
    settings = with_a_stated_rate(args.config)
    each_phrase_ms, files = phrase_ms(settings, args.calls_a_replica), [said(text, settings) for text in TEXTS]
    calls, key = args.replicas * args.calls_a_replica, secrets.token_urlsafe(12)
    rush = Rush(calls, args.rush_s, args.seconds, args.replicas)
    courses = []
    with Crowd(calls + A_PROCESS) as crowd:  # the caller who is there all the time has a process alone
        for policy in args.policies:
            print(f"{policy}: {calls} calls come within {args.rush_s:g} s", flush=True)
            with started(args.config, settings_of(policy, args, key, each_phrase_ms)) as url:
                courses.append(course(policy, url, key, crowd, files, rush))
    return courses


def _policies(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in POLICIES]:
        raise argparse.ArgumentTypeError(f"unknown {', '.join(unknown)}; there are {', '.join(POLICIES)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.upscale", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--replicas", type=positive, default=4, metavar="N", help="at most (%(default)s)")
    parser.add_argument("--calls-a-replica", type=positive, default=4, metavar="C", help="busy with (%(default)s)")
    parser.add_argument("--rush-s", type=positive, default=20, metavar="S", help="in which they come (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=40, metavar="S", help="of talk after it (%(default)s)")
    parser.add_argument(
        "--policies", type=_policies, default=list(POLICIES), metavar="NAME,…", help=f"({','.join(POLICIES)})"
    )
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"), help="what is started (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where a turn had no answer, 2 where there is no server; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        courses = run(args)
    except CallFailed as wrong:
        print(f"loadtest.upscale: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report(args.out, courses)), flush=True)
    return 1 if any(each.failed for each in courses) else 0


if __name__ == "__main__":
    sys.exit(main())
