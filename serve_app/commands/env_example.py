"""`antiphon env-example`: every setting as a variable, with what it is for and its default."""

import argparse
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

WIDTH = 118
HEAD = """\
# Settings of Antiphon as variables; copy this file to .env and uncomment what you change.
# Written by `antiphon env-example`. Later wins: defaults, the YAML, .env, the environment.
"""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    commands.add_parser("env-example", help="print .env.example: every setting as a variable")


def run(args: argparse.Namespace) -> int:
    print(env_example(), end="")
    return 0


def env_example() -> str:
    """The text of `.env.example`."""
    from serve_app.settings import Settings

    return HEAD + "\n".join(_lines(Settings.model_construct(), ())) + "\n"


def _lines(section: BaseModel, path: tuple[str, ...]) -> Iterator[str]:
    from serve_app.problems import is_secret
    from serve_app.settings_sources import PREFIX

    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        here = (*path, name)
        text = f"{'.'.join(here)}: {field.description}" if isinstance(value, BaseModel) else field.description or name
        if isinstance(value, BaseModel) and len(here) == 1:
            yield f"\n# --- {name}: {field.description}"
        else:
            yield from textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="#   ")
        if isinstance(value, BaseModel):
            yield from _lines(value, here)
        else:
            yield f"#{PREFIX}{'__'.join(here).upper()}={'' if is_secret(name) else _written(value)}"


def _written(value: Any) -> str:
    """As it would stand in a .env file."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if " " in value or "#" in value else value
    return json.dumps(value) if not isinstance(value, bool) else str(value).lower()
