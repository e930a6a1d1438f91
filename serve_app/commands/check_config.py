"""`antiphon check-config FILE`: everything that is wrong with it, each in one line; or what it would run.

With `--json` the settings that it would run with, one object a file, every source applied and secrets masked.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # imported where it is used: `antiphon --help` must be quick
    from deployments.options import ModelOptions
    from serve_app.problems import Problem
    from serve_app.settings import Settings


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("check-config", help="say what is wrong with a config, without starting it")
    parser.add_argument("config", type=Path, nargs="+", metavar="FILE", help="a Serve config file")
    parser.add_argument("--json", action="store_true", help="print the settings, all sources applied, as JSON")


def run(args: argparse.Namespace) -> int:
    return max(_check(path, args.json) for path in args.config)


def _check(path: Path, as_json: bool) -> int:
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
    if as_json:
        print(json.dumps(without_secrets(config.settings().model_dump(mode="json"))))
        return 0
    print(f"{path}: fine; http://{config.host}:{config.port}/ would run")
    for line in summary(config.settings()):
        print(f"  {line}")
    return 0


def refuse(path: Path, problems: "Sequence[Problem]") -> int:
    """Each problem on a line of its own, with the file's name."""
    for problem in dict.fromkeys(problems):
        print(f"{path}: {problem}", file=sys.stderr)
    return 2


def without_secrets(values: Any) -> Any:
    """The same with every secret masked, however deep it lies."""
    from serve_app.problems import is_secret
    from serve_app.settings_sources import shown

    if isinstance(values, list):
        return [without_secrets(value) for value in values]
    if not isinstance(values, dict):
        return values
    return {
        name: shown(name, value) if value and is_secret(str(name)) else without_secrets(value)
        for name, value in values.items()
    }


def summary(settings: "Settings") -> list[str]:
    """What would run: a line for each deployment, one for voice activity and one for rooms."""
    from serve_app.settings import deployments_of

    own = "of a LiveKit server that `antiphon up` starts; none with `serve run`"
    models = [(each.name, each.engine, each.options) for each in deployments_of(settings)]
    width = max(len(name) for name, _, _ in models)
    lines = [f"{name:{width}}  {engine}{_details(options)}" for name, engine, options in models]
    vad = settings.vad
    lines.append(f"{'vad':{width}}  {vad.engine}" + (f": {vad.model}" if vad.model and vad.engine != "energy" else ""))
    return [*lines, f"rooms {settings.livekit.url or own}"]


def _details(options: "ModelOptions") -> str:
    model = "" if options.model == "synthetic" else f": {options.model}"
    more = "".join(f", {model}" for model in getattr(options, "more_models", ()))
    return model + more + (f", {options.replicas} replicas" if options.replicas != 1 else "")
