"""How many more calls hold with more replicas, and what a call costs over the socket.

python -m loadtest.scale_out [--replicas 1,2,4] [--calls-a-replica 8] [--ingress 1] [--config configs/demo.yaml]

For each number of replicas a server is started whose four kinds of models have so many each. The engines are synthetic
and their rate is stated: a TTS replica makes one phrase at a time, and takes as long for it as keeps it busy all the
time with `--calls-a-replica` calls that talk back to back. What counts is how the number that holds grows with the
replicas. A number of calls holds when every turn is answered, and p95 of what callers wait (voice to voice, and silence
within an answer because no more of it has come) is at most `--within-ms` above p50 of one call alone.

As many messages go to a bare WebSocket server in the same run. What calls in rooms cost, beside a bare client in a
room, `python -m loadtest.rooms calls` tells, with and without `--bare`. Everything runs on this machine, callers too.
Prints tables, saves JSON and a picture, and ends with one line of JSON; no time makes it fail.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from loadtest.arguments import positive
from loadtest.recording import RATE_HZ
from loadtest.scale_out_callers import PAUSES_S, Crowd
from loadtest.scale_out_level import Plan, bare, measure
from loadtest.scale_out_report import Found, report
from loadtest.scale_out_steps import Level
from loadtest.server import started
from loadtest.speech import resolved_settings, said
from loadtest.voiced import voiced_span
from loadtest.wav import read_speech
from loadtest.wire import CallFailed

TEXTS = ("How are you?", "What time is it?", "Tell me more.")
ANSWER = "You said: {}"
"""What the synthetic LLM makes of them: two phrases, the first of which ends at the colon."""
PHRASES = 2
JUDGED_S = 0.25
"""From the caller's last sound until the turn is over; what the engines besides the TTS take is less."""

KINDS = ("asr", "llm", "tts", "turn")
HELD = 0.9
"""Of the calls that would keep a replica busy: the first guess at how many hold."""
MOST_TIMES = 2
"""More calls than so many times those of the stated rate are not tried."""


def with_a_stated_rate(config: Path) -> str:
    """The resolved settings. Raises CallFailed where an engine is not synthetic."""
    settings = resolved_settings(config)
    if any(json.loads(settings)[kind]["engine"] != "synthetic" for kind in KINDS):
        raise CallFailed(f"{config}: only synthetic engines have a stated rate")
    return settings


def phrase_ms(settings: str, calls: int) -> float:
    """What a phrase takes when `calls` callers, each of whom speaks as soon as they were answered, are to keep a
    replica busy all the time; a turn lasts one phrase longer then. `settings`: as resolved."""
    words = [_voiced_s(said(text, settings)) + _voiced_s(said(ANSWER.format(text), settings)) for text in TEXTS]
    turn_s = float(np.mean(PAUSES_S)) + JUDGED_S + float(np.mean(words))
    return 1000 * turn_s / (PHRASES * calls - 1)


def _voiced_s(file: Path) -> float:
    first, last = voiced_span(read_speech(file), RATE_HZ) or (0, 0)
    return (last - first) / RATE_HZ


def variables(replicas: int, ingress: int, most_calls: int, each_phrase_ms: float) -> dict[str, str]:
    """The settings of a level. Reserved cores are next to none: Ray is not to say how many replicas fit."""
    models = {f"ANTIPHON_{kind.upper()}__REPLICAS": str(replicas) for kind in KINDS}
    cores = {f"ANTIPHON_{kind.upper()}__CPUS": "0.001" for kind in (*KINDS, "ingress")}
    timing = {"FIRST_ITEM_MS": f"{each_phrase_ms:.1f}", "ITEMS_PER_S": "1000000", "CONCURRENCY": "1"}
    rate = {f"ANTIPHON_TTS__TIMING__{name}": value for name, value in timing.items()}
    host = {"ANTIPHON_INGRESS__REPLICAS": str(ingress), "ANTIPHON_INGRESS__MAX_CALLS": str(most_calls)}
    return {**models, **cores, **rate, **host}


def run(args: argparse.Namespace) -> Found:
    """All levels, from the fewest replicas on, and the bare server. Raises CallFailed."""
    settings = with_a_stated_rate(args.config)
    each_phrase_ms = phrase_ms(settings, args.calls_a_replica)
    print(f"a replica makes a phrase in {each_phrase_ms:.0f} ms: {args.calls_a_replica} calls keep it busy", flush=True)
    levels: list[Level] = []
    files = [said(text, settings) for text in TEXTS]
    with Crowd(MOST_TIMES * args.calls_a_replica * max(args.replicas)) as crowd:
        for replicas in args.replicas:
            most = MOST_TIMES * args.calls_a_replica * replicas
            plan = Plan(files, args.seconds, args.within_ms, args.steps, most)
            with started(args.config, variables(replicas, args.ingress, most, each_phrase_ms)) as url:
                guess = _guess(levels, replicas, args.calls_a_replica)
                levels.append(measure(url, crowd, plan, replicas, args.ingress, guess))
        held = max((level.best.calls for level in levels if level.best), default=0)
        beside = bare(crowd, held) if held else None
    return Found(levels, args.calls_a_replica, each_phrase_ms, args.within_ms, beside)


def _guess(levels: Sequence[Level], replicas: int, calls_a_replica: int) -> int:
    """As many a replica as held so far; else what is to be expected."""
    known = levels[-1].calls / levels[-1].replicas if levels else 0.0
    return max(1, round(replicas * (known or HELD * calls_a_replica)))


def _numbers(text: str) -> list[int]:
    """Whole numbers from 1 on, with commas: in order, each once."""
    return sorted({positive(number.strip()) for number in text.split(",")})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.scale_out",
        description=(__doc__ or "").split("\n")[0],
        epilog="What calls in rooms cost: python -m loadtest.rooms calls, with and without --bare.",
    )
    parser.add_argument("--replicas", type=_numbers, default=[1, 2, 4], metavar="N,…", help="of each model (1,2,4)")
    parser.add_argument("--calls-a-replica", type=positive, default=8, metavar="C", help="busy with (%(default)s)")
    parser.add_argument("--ingress", type=positive, default=1, metavar="N", help="replicas of the door (%(default)s)")
    parser.add_argument("--within-ms", type=positive, default=500, metavar="MS", help="above one call (%(default)s)")
    parser.add_argument("--seconds", type=positive, default=15, metavar="S", help="of talk in a step (%(default)s)")
    parser.add_argument("--steps", type=positive, default=4, metavar="N", help="a level, at most (%(default)s)")
    parser.add_argument("--config", type=Path, default=Path("configs/demo.yaml"), help="what is started (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where no number of calls held, 2 where there is no server; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        found = run(args)
    except CallFailed as wrong:
        print(f"loadtest.scale_out: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(report(args.out, found)), flush=True)
    return 0 if any(level.best for level in found.levels) else 1


if __name__ == "__main__":
    sys.exit(main())
