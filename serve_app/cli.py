"""`antiphon …`: one command, one module in `serve_app/commands`, imported only when it is asked for."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

COMMANDS = {
    "up": "start everything a config needs, and stop it on Ctrl-C",
    "call": "play sound files as a caller and save the answer",
    "talk": "talk with this machine's microphone and speaker",
    "pull": "fetch a config's models",
    "replay": "play recorded calls again, and say what would be judged otherwise now",
    "plan": "say which replica would go to which GPU, and how many calls that serves",
    "models": "list the models of a running system, load, unload and pin them",
    "status": "look at a running system: machines, models, calls, and how fast it answers",
    "check-config": "say what is wrong with a config, without starting it",
    "env-example": "print .env.example: every setting as a variable",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed, 2 the command, the config or a model is not as it should be."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = _parser(words).parse_args(words)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130
    except Exception as wrong:
        if not _is_for_the_user(wrong):
            raise
        print(f"antiphon: {' '.join(str(wrong).split())}", file=sys.stderr)
        return 2


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="antiphon", description="Answers a spoken question with a spoken answer.")
    parser.add_argument("--version", action="version", version=f"antiphon {version('antiphon')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    asked = next((word for word in words if not word.startswith("-")), "")
    for name, help_text in COMMANDS.items():
        if name == asked:
            module = import_module(f"serve_app.commands.{name.replace('-', '_')}")
            module.add_parser(commands)
            commands.choices[name].set_defaults(run=module.run)
        else:
            commands.add_parser(name, help=help_text)
    return parser


def _is_for_the_user(wrong: Exception) -> bool:
    """One sentence says it all, and a traceback would say nothing more."""
    from pydantic import ValidationError

    from deployments.errors import AntiphonError
    from serve_app.problems import SettingsError

    return isinstance(wrong, (AntiphonError, SettingsError, ValidationError))


if __name__ == "__main__":
    sys.exit(main())
