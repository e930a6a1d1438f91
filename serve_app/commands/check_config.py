"""`antiphon check-config FILE`: everything that is wrong with it, each in one line; or what it would run."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported where it is used: `antiphon --help` must be quick
    from serve_app.problems import Problem
    from serve_app.settings import Settings


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("check-config", help="say what is wrong with a config, without starting it")
    parser.add_argument("config", type=Path, nargs="+", metavar="FILE", help="a Serve config file")


def run(args: argparse.Namespace) -> int:
    return max(_check(path) for path in args.config)


def _check(path: Path) -> int:
    from serve_app.config_file import missing_config, read_config, serve_problems, settings_problems
    from serve_app.problems import SettingsError

    if not path.is_file():
        print(missing_config(path), file=sys.stderr)
        return 2
    try:
        config = read_config(path)
    except SettingsError as wrong:
        return refuse(path, wrong.problems)
    problems = settings_problems(config)
    said = {problem.path for problem in problems}
    problems += [problem for problem in serve_problems(config.values) if problem.path not in said]
    if problems:
        return refuse(path, problems)
    print(f"{path}: fine; http://{config.host}:{config.port}/ would run")
    for line in summary(config.settings()):
        print(f"  {line}")
    return 0


def refuse(path: Path, problems: "Sequence[Problem]") -> int:
    """Each problem on a line of its own, with the file's name."""
    for problem in dict.fromkeys(problems):
        print(f"{path}: {problem}", file=sys.stderr)
    return 2


def summary(settings: "Settings") -> list[str]:
    """What would run, a line for each kind of model."""
    from serve_app.settings import model_options

    return [
        f"{kind:4}  {options.engine}"
        + (f": {options.model}" if options.model not in (None, "synthetic") and options.engine != "energy" else "")
        + (f", {replicas} replicas" if (replicas := getattr(options, "replicas", 1)) != 1 else "")
        for kind, options in model_options(settings).items()
    ]
