"""Where settings come from. Later wins: defaults, variables that other programs use too, the YAML with its `${VAR}`,
`.env`, the environment.

asr: {model: whisper-tiny.en}            YAML
cache_dir: ${MODELS:-~/.cache/models}    YAML, from the variable MODELS where it is set; `$${` is a plain `${`
ANTIPHON_ASR__MODEL=whisper-tiny.en      environment or .env; `__` goes one section deeper
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import yaml
from dotenv import dotenv_values
from pydantic import BaseModel

from cluster.registry import shown_url
from serve_app.problems import Problem, SettingsError, is_secret, models_in, nearest, written

PREFIX = "ANTIPHON_"
STANDARD: Mapping[str, tuple[str, str]] = {
    "LIVEKIT_URL": ("livekit", "url"),
    "LIVEKIT_API_KEY": ("livekit", "api_key"),
    "LIVEKIT_API_SECRET": ("livekit", "api_secret"),
    "REDIS_URL": ("registry", "url"),
}
"""Variables that other programs read as well: they count where nothing of ours says otherwise."""
_REFERENCE = re.compile(r"\$(?P<escape>\$)?\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-(?P<text>[^}]*))?\}")


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables that settings may use: the environment's, then those of `.env` in the working directory."""

    environment: Mapping[str, str]
    dotenv: Mapping[str, str]

    @classmethod
    def here(cls) -> "Variables":
        # Read as it is written: `$` in a password must not be taken for a reference.
        kept = dotenv_values(Path(".env"), interpolate=False) if Path(".env").is_file() else {}
        return cls(dict(os.environ), {name: text for name, text in kept.items() if text is not None})

    def get(self, name: str) -> str | None:
        return self.environment.get(name, self.dotenv.get(name))

    def overrides(self) -> dict[str, tuple[str, str]]:
        """Our own variables: name -> (text, where from)."""
        kept = {name: (text, f"{name} in .env") for name, text in self.dotenv.items() if name.startswith(PREFIX)}
        return kept | {name: (text, name) for name, text in self.environment.items() if name.startswith(PREFIX)}


@dataclass(slots=True)
class Resolved:
    """One set of values out of all sources, and where each came from: `asr.model` -> `ANTIPHON_ASR__MODEL`."""

    yaml: str = "YAML"
    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def resolve(values: Mapping[str, Any], model: type[BaseModel], variables: Variables, origin: str = "YAML") -> Resolved:
    """The YAML's values with references filled in and variables laid over. `origin` is what to call the YAML.
    Raises SettingsError."""
    resolved = Resolved(yaml=origin)
    resolved.values = {key: _filled(value, (key,), variables, resolved) for key, value in values.items()}
    places = variables_of(model)
    for name, path in STANDARD.items():
        _lay_under(name, path, model, variables, resolved)
    for name, (text, whence) in sorted(variables.overrides().items()):
        _lay_over(name, text, whence, places, resolved)
    if resolved.problems:
        raise SettingsError(resolved.problems)
    return resolved


def variables_of(model: type[BaseModel], path: tuple[str, ...] = ()) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Every variable that sets a field of `model`: name -> (the field's path, its annotation)."""
    found: dict[str, tuple[tuple[str, ...], Any]] = {}
    for name, info in model.model_fields.items():
        here = (*path, name)
        section = info.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            found |= variables_of(section, here)
        else:
            found[PREFIX + "__".join(here).upper()] = (here, section)
    return found


def _filled(value: Any, path: tuple[str | int, ...], variables: Variables, into: Resolved) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, (*path, key), variables, into) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, (*path, index), variables, into) for index, item in enumerate(value)]
    into.origins[written(path)] = into.yaml
    if not isinstance(value, str) or "${" not in value:
        return value

    def fill(reference: re.Match[str]) -> str:
        if reference["escape"]:
            return reference[0][1:]
        text = variables.get(reference["name"])
        if text is None and reference["default"] is None:
            message = f"the variable {reference['name']} is not set (${{{reference['name']}:-…}} gives a default)"
            into.problems.append(Problem(written(path), message))
        if text is not None:
            into.origins[written(path)] = f"{into.yaml}, ${{{reference['name']}}}"
        return text if text is not None else reference["text"] or ""

    return _REFERENCE.sub(fill, value)


def _lay_under(name: str, path: tuple[str, str], model: type[BaseModel], variables: Variables, into: Resolved) -> None:
    text = variables.get(name)
    if not text or path[0] not in model.model_fields:
        return
    section = into.values.setdefault(path[0], {})
    if isinstance(section, dict) and section.get(path[1]) is None:
        section[path[1]] = text
        into.origins[written(path)] = name


def _lay_over(
    name: str, text: str, origin: str, places: Mapping[str, tuple[tuple[str, ...], Any]], into: Resolved
) -> None:
    if name not in places:
        near = nearest(name, places)
        into.problems.append(Problem(name, "unknown setting" + (f"; did you mean {near}?" if near else "")))
        return
    path, annotation = places[name]
    try:
        value = _parsed(text, annotation)
    except yaml.YAMLError:
        into.problems.append(Problem(name, "expected YAML or JSON"))
        return
    section = into.values
    for step in path[:-1]:
        if section.get(step) is None:
            section[step] = {}
        section = section[step]
        if not isinstance(section, dict):
            return  # the model will say that a mapping belongs here
    section[path[-1]] = value
    into.origins[written(path)] = origin


def _parsed(text: str, annotation: Any) -> Any:
    """Text for a field of text is taken as it is: instructions may hold a colon. Pydantic reads numbers itself."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    admits_text, admits_none = str in parts, NoneType in parts
    if admits_none and text.strip().lower() in ("", "null", "none"):
        return None
    origins = [get_origin(part) for part in parts]
    structured = models_in(annotation) or any(
        isinstance(each, type) and issubclass(each, Collection) for each in origins
    )
    return yaml.safe_load(text) if structured and not admits_text else text


def shown(name: str, value: Any) -> str:
    """A value for a log or a terminal, one line; a secret's is not."""
    if is_secret(name) and value:
        return "…"
    text = str(value).replace("\n", " ")
    if name == "url":
        text = shown_url(text)
    return text if len(text) <= 80 else text[:77] + "…"
