"""What each technique is worth: the same turns to systems that differ in one setting.

python -m loadtest.switches [CONFIG] [--transport socket|room] [--rounds 3] [--calls 1] [--only NAME,…] [--out reports/]
python -m loadtest.switches --url all_on=http://…:8000 --url no_partials=http://…:8001 …

A system is started for each variant in each round, so that what the machine does meanwhile falls on all of them; with
--url they run already, and are named as the variants are or in any other way. In a round every variant is told the same
sentences. A turn that does not count comes first. Prints voice-to-voice by variant, and how long the agent spoke on
where --case names cases in which it is interrupted; what should not have happened (an answer that did not come, a cough
that stopped it) is told as it does. Saves JSON and a picture, and ends with one line of JSON. No time makes it fail.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from loadtest.arguments import positive
from loadtest.conversation import played
from loadtest.lines import Target
from loadtest.repertoire import Repertoire
from loadtest.room_bench import Findings, write
from loadtest.scenes import Scenes
from loadtest.script import OWN_CASES, read_script
from loadtest.take import Scene
from loadtest.targets import started_target
from loadtest.verdict import judge
from loadtest.wire import CallFailed

CALL = "ANTIPHON_CALL__"
SWITCHES = {
    "no_speculation": {f"{CALL}SPECULATION": "false"},
    "no_prefill": {f"{CALL}PREFILL": "false"},
    "no_partials": {f"{CALL}LISTENING__PARTIALS": "false"},
    "no_phrase_streaming": {f"{CALL}STREAM_PHRASES": "false"},
    "no_first_phrase_alone": {f"{CALL}FIRST_PHRASE_ALONE": "false"},
    "no_early_pause": {f"{CALL}TURN_TAKING__EARLY_PAUSE": "false"},
    "barge_in_by_voice": {f"{CALL}TURN_TAKING__BARGE_IN": "voice"},
    "no_words_at_the_end": {f"{CALL}TURN_TAKING__ASK_LLM": "false"},
}
"""Each technique switched off: variant -> settings as variables."""

ALL_OFF = {name: value for settings in SWITCHES.values() for name, value in settings.items()}
VARIANTS: Mapping[str, Mapping[str, str]] = {"all_on": {}, **SWITCHES, "all_off": ALL_OFF}
"""`all_off` does one thing after the other."""

SPOKE_ON = ("barge_in_ms", "barge_in_told_ms")
"""Rows of the conversation's table that a variant has where it was interrupted."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.switches", description=(__doc__ or "").split("\n")[0])
    local = Path("configs/local.yaml")
    parser.add_argument("config", type=Path, nargs="?", default=local, help="started with each variant (%(default)s)")
    running = "a system that runs already, in place of all that would be started; as often as there are"
    parser.add_argument("--url", action="append", metavar="NAME=URL", type=_named, default=[], help=running)
    parser.add_argument("--transport", choices=("socket", "room"), default="socket", help="(%(default)s)")
    parser.add_argument("--rounds", type=positive, metavar="N", default=3, help="of all variants (%(default)s)")
    parser.add_argument("--calls", type=positive, metavar="N", default=1, help="in each round (%(default)s)")
    parser.add_argument("--only", metavar="NAME,…", default="", help=f"these variants, of: {', '.join(VARIANTS)}")
    parser.add_argument("--cases", type=Path, metavar="FILE", default=OWN_CASES, help="(those of the conversation)")
    parser.add_argument("--case", default="plain", metavar="NAME,…", help="that are played; '': all (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides what is drawn (%(default)s)")
    parser.add_argument("--speech", type=Path, metavar="DIR", help="recordings to say, in place of the usual ones")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="(%(default)s)")
    return parser


def _named(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not (name and equals and "://" in url):
        raise argparse.ArgumentTypeError(f"expected NAME=URL, as in all_on=http://127.0.0.1:8000, not {text!r}")
    return name, url


def chosen(only: str) -> list[str]:
    """The names of the variants. Raises CallFailed."""
    names = [name for name in only.split(",") if name]
    if unknown := [name for name in names if name not in VARIANTS]:
        raise CallFailed(f"there is no variant {unknown[0]}; there are: {', '.join(VARIANTS)}")
    return [name for name in VARIANTS if name in names or not names]


def measure(args: argparse.Namespace) -> Findings:
    """All rounds of all variants. Raises CallFailed where there is nothing to say, or no such variant or case."""
    running = dict(args.url)
    names = list(running) or chosen(args.only)
    cases = read_script(args.cases).only([name for name in args.case.split(",") if name])
    scenes = list(Scenes(cases, args.rounds * args.calls, args.seed).made(Repertoire(args.speech, args.config)))
    found = Findings("switches", "Voice to voice by variant, ms", one_scale=True, values={name: [] for name in names})
    for number in range(args.rounds):
        said = [scene for scene in scenes if scene.repeat // args.calls == number]
        for name in names:
            print(f"round {number + 1} of {args.rounds}: {name}", flush=True)
            try:
                with _target(args, running.get(name), name) as target:
                    _play(target, name, said, found)
            except CallFailed as failed:
                found.fail(f"{name}: {failed}")
                print(found.failures[-1], file=sys.stderr, flush=True)
    found.facts["answered"] = sum(len(found.values[name]) for name in names)
    return found


def _play(target: Target, name: str, scenes: Sequence[Scene], found: Findings) -> None:
    """One round of one variant."""
    first = replace(scenes[0], turns=scenes[0].turns[:1])
    asyncio.run(played(target, [first]))
    for take in asyncio.run(played(target, scenes)):
        facts = judge(take)
        found.values[name] += facts.values.get("voice_to_voice_ms", ())
        for row in SPOKE_ON:
            if row in facts.values:
                found.add(f"{name} {row}", *facts.values[row])
        if take.failed:
            found.fail(f"{name}: {take.failed}")
        for row, chances in facts.chances.items():
            for happened in chances:
                if happened:
                    found.fail(f"{name}: {row} ({take.name})")
        found.details.append({"variant": name, "take": take.name, "verdict": facts.sentences})


@contextmanager
def _target(args: argparse.Namespace, url: str | None, name: str) -> Iterator[Target]:
    """Raises CallFailed."""
    if url is not None:
        yield Target(args.transport, url)
    else:
        with started_target(args.config, args.transport, VARIANTS[name]) as target:
            yield target


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 where no turn was answered, 2 where nothing can be said or started; a time never decides."""
    args = _parser().parse_args(argv)
    try:
        found = measure(args)
    except CallFailed as wrong:
        print(f"loadtest.switches: {wrong}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(write(args.out, found, prefix="")), flush=True)
    return 0 if any(found.values.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
