"""`antiphon replay FILE…`: recorded calls (`call.record_dir`) played again, without sound, models or waiting."""

import argparse
import time
from pathlib import Path


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "replay",
        help="play recorded calls again, and say what would be judged otherwise now",
        description="Feed recorded calls to the turn machine and its judges again. Prints what comes otherwise than it "
        "came then; exit code 1 if anything does, 2 where a file is no recorded call.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="of the folder `call.record_dir`")
    parser.add_argument("--steps", action="store_true", help="print each step of the turn machine with its time")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    return max(_replay(path, args.steps) for path in args.files)


def _replay(path: Path, steps: bool) -> int:
    from serve_app.conversation.replay import replayed
    from serve_app.records import read_record

    lines = read_record(path)
    began_s = time.perf_counter()
    replay = replayed(lines)
    took_ms = (time.perf_counter() - began_s) * 1000
    for line in lines if steps else ():
        if "event" in line:
            print(f"{line['at'] / 16_000:9.3f} s  {line['event']:<20} {line['state']:<9} {' '.join(line['commands'])}")
    for difference in replay.differences:
        print(f"{path}: {difference}")
    print(f"{path}: {replay.lines} lines in {took_ms:.1f} ms, {len(replay.differences)} differences")
    return 1 if replay.differences else 0
