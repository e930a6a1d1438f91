"""What is wrong with a configuration, said in one line each: the path, what is wrong there, and the nearest remedy."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

Path = tuple[str | int, ...]

_SECONDS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_UNITS = {*_SECONDS, "hz", "bytes", "tokens", "db", "dbfs"}
_QUANTITY = re.compile(r"\s*([-+]?\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `path` is written as in the file: `applications[0].args.asr.model`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SettingsError(ValueError):
    """Settings that cannot be used, with everything that was found wrong."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)


def written(path: Iterable[str | int]) -> str:
    """`("applications", 0, "args")` -> `applications[0].args`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), None)


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that a field may hold: through Optional, unions, lists and mappings."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def names_of(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def located(model: type[BaseModel], loc: Iterable[str | int]) -> tuple[Path, type[BaseModel] | None]:
    """The path as it is written in the file, and the model that describes the mapping there; None where anything may
    stand. Of several models that may stand in a place, pydantic puts into `loc` the kind of the one that it took."""
    path: list[str | int] = []
    found: list[type[BaseModel]] = [model]
    for step in loc:
        if len(found) > 1 and (tagged := [each for each in found if _has_kind(each, step)]):
            found = tagged
            continue
        path.append(step)
        if isinstance(step, str):
            field = found[0].model_fields.get(step) if found else None
            found = models_in(field.annotation) if field else []
    return tuple(path), next(iter(found), None)


def _has_kind(model: type[BaseModel], kind: str | int) -> bool:
    return "kind" in model.model_fields and kind in get_args(model.model_fields["kind"].annotation)


def unknown_key(key: str, known: Sequence[str]) -> str:
    """One that differs in its unit alone is told apart from a misspelt one."""
    near = nearest(key, known)
    if near is None:
        return f"unknown key; known: {', '.join(known)}" if known else "unknown key"
    stem, _, unit = near.rpartition("_")
    if unit in _UNITS and key != near and stem == key.rpartition("_")[0]:
        return f'unknown key; did you mean "{near}" (in {unit})?'
    return f'unknown key; did you mean "{near}"?'


def unknown_keys(data: Any, model: type[BaseModel], path: Path = ()) -> list[Problem]:
    """Keys of `data` that `model` does not know, for models that would silently pass over them."""
    if not isinstance(data, Mapping):
        return []
    found = []
    for key, value in data.items():
        if key not in names_of(model):
            found.append(Problem(written((*path, str(key))), unknown_key(str(key), names_of(model))))
            continue
        inner = next(iter(models_in(model.model_fields[key].annotation)), None) if key in model.model_fields else None
        items = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, item in items if inner else ():
            here = (*path, str(key)) if index is None else (*path, str(key), index)
            found += unknown_keys(item, inner, here) if inner else []
    return found


def explain(error: ValidationError, model: type[BaseModel], prefix: Path = ()) -> list[Problem]:
    """What pydantic found, in our words. Never shows a value that may be a secret."""
    found: list[Problem] = []
    for detail in error.errors(include_url=False):
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, SettingsError):
            found += [Problem(_joined(prefix, problem.path), problem.message) for problem in cause.problems]
        else:
            path, _ = located(model, detail["loc"])
            found.append(Problem(written((*prefix, *path)), _message(detail, model)))
    return found


def _joined(prefix: Path, path: str) -> str:
    """A variable of the environment is its own path; a path inside the settings goes after the prefix."""
    return path if path.isupper() or not prefix else f"{written(prefix)}.{path}".rstrip(".")


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    loc = detail["loc"]
    if detail["type"] == "extra_forbidden":
        _, parent = located(model, loc[:-1])
        return unknown_key(str(loc[-1]), names_of(parent) if parent else [])
    if detail["type"] == "literal_error" and isinstance(detail["input"], str):
        allowed = re.findall(r"'([^']+)'", str(detail["ctx"]["expected"]))
        near = nearest(detail["input"], allowed)
        hint = f'; did you mean "{near}"?' if near else f"; known: {', '.join(allowed)}"
        return f'unknown {loc[-1]} "{detail["input"]}"{hint}'
    if detail["type"] in ("float_parsing", "int_parsing") and isinstance(detail["input"], str):
        return _number_expected(str(loc[-1]), detail["input"])
    return detail["msg"].removeprefix("Value error, ")[:1].lower() + detail["msg"].removeprefix("Value error, ")[1:]


def _number_expected(name: str, text: str) -> str:
    """`deadline_s: "5s"` -> write 5."""
    unit = name.rpartition("_")[2]
    quantity = _QUANTITY.fullmatch(text)
    if quantity is None or is_secret(name):
        return "expected a number"
    value, given = float(quantity[1]), quantity[2].lower()
    if given in _SECONDS and unit in _SECONDS:
        value *= _SECONDS[given] / _SECONDS[unit]
        return f'expected a number, not "{text}": the unit is in the name, write {value:g}'
    return f'expected a number, not "{text}"'


def is_secret(name: str) -> bool:
    """Fields named so are never shown. `first_token_s` and `max_answer_tokens` are no secrets: the last word counts."""
    return name.lower().rpartition("_")[2] in {"key", "secret", "token", "password", "passphrase", "credentials"}
