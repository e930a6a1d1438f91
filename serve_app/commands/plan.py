"""`antiphon plan CONFIG`: which replica goes where, on this machine or on others, before anything is paid for."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from serve_app.commands.telling import refuse_line

if TYPE_CHECKING:  # imported where they are used: `antiphon --help` must be quick
    from cluster.machines import Host

EXAMPLES = """examples:
  antiphon plan configs/local.yaml                             on this machine
  antiphon plan gpu.yaml --gpus 2xH200,1xL4                    two hosts, one with two GPUs
  antiphon plan gpu.yaml --hosts a:2xH200+32c+256g,b:16c       hosts with names, cores and GB of memory
  antiphon plan gpu.yaml --hosts a:1xL4,a:1xT4,b:1xB300@288    two kinds in one host; a GPU of 288 GB
  antiphon plan gpu.yaml --cluster auto --picture plan.svg     a Ray cluster that runs, and a picture

A host of which only GPUs are told has 8 cores a GPU. Memory and calls are estimated from the size of models' files.
Exit status: 0 it fits, 1 it does not, 2 the config or the machines cannot be read."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "plan",
        help="say which replica would go to which GPU, and how many calls that serves",
        description="Place a config's replicas on GPUs and hosts as Ray would, or say exactly what does not fit and "
        "what would. Nothing is started or fetched.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a Serve config file")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--gpus", "--hosts", action="append", default=[], metavar="HOSTS", help="hosts between commas: 2xH200,1xL4,16c"
    )
    where.add_argument("--cluster", metavar="ADDRESS", help="the nodes of this Ray: HOST:PORT, ray://HOST:PORT or auto")
    parser.add_argument("--picture", type=Path, metavar="FILE.svg", help="draw it as well")


def run(args: argparse.Namespace) -> int:
    from cluster.machines import BadMachines
    from cluster.placement import plan
    from serve_app.commands.check_config import refuse
    from serve_app.config_file import missing_config, read_config, settings_problems
    from serve_app.needs import needs_of
    from serve_app.plan_picture import draw
    from serve_app.plan_text import lines, refusal_lines
    from serve_app.problems import SettingsError

    if not args.config.is_file():
        return refuse_line(missing_config(args.config))
    try:
        config = read_config(args.config)
        if problems := settings_problems(config):
            return refuse(args.config, problems)
        made = plan(needs_of(config.settings()), _hosts(args))
        if args.picture is not None:
            draw(args.picture, made)
    except SettingsError as wrong:
        return refuse(args.config, wrong.problems)
    except BadMachines as wrong:
        return refuse_line(str(wrong))
    except OSError as unwritable:
        return refuse_line(f"{args.picture}: {unwritable.strerror}")
    print("\n".join(lines(made)), flush=True)
    for line in refusal_lines(made):
        print(line, file=sys.stderr)
    return 1 if made.refusals else 0


def _hosts(args: argparse.Namespace) -> "tuple[Host, ...]":
    from cluster.machines import read_hosts, this_machine
    from cluster.nodes import hosts_at

    if args.cluster is not None:
        return hosts_at(args.cluster)
    return read_hosts(",".join(args.gpus)) if args.gpus else this_machine()
