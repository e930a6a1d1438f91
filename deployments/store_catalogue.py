"""The catalogue: every model that is known by an id, from `models.yaml` and from the user's settings."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from deployments.errors import BadModel
from deployments.store_options import FileSpec, Kind, ModelSpec


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The known models by id."""

    models: Mapping[str, ModelSpec]

    @classmethod
    def load(cls, extra: Mapping[str, Any] = {}) -> "Catalogue":
        """The models of `models.yaml`, then `extra`: id -> entry, as in `models:` of the settings, which wins.

        Raises BadModel with the path of the first thing that is wrong.
        """
        shipped = yaml.safe_load(files("deployments").joinpath("models.yaml").read_text(encoding="utf-8"))["models"]
        return cls({id: _entry(id, entry) for id, entry in {**shipped, **extra}.items()})

    def get(self, id: str, kind: Kind | None = None) -> ModelSpec:
        """The model, which must be of that kind if one is given. Raises BadModel with what there is instead."""
        found = self.models.get(id)
        if found and kind in (None, found.kind):
            return found
        ids = sorted(spec.id for spec in self.models.values() if kind in (None, spec.kind))
        problem = f"{id!r} is a model of kind {found.kind}, not {kind}" if found else f"no model is called {id!r}"
        near = get_close_matches(id, ids, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ";"
        raise BadModel(f"{problem}{hint} known{f' {kind}' if kind else ''} models: {', '.join(ids) or 'none'}")


def _entry(id: str, entry: Any) -> ModelSpec:
    if isinstance(entry, ModelSpec):
        return entry
    if not isinstance(entry, Mapping):
        raise BadModel(f"models.{id}: expected a mapping with kind, engine, licence and files")
    try:
        return ModelSpec.model_validate({"id": id, **entry})
    except ValidationError as wrong:
        raise BadModel(_one_line(id, wrong.errors(include_url=False)[0])) from wrong


def _one_line(id: str, error: ErrorDetails) -> str:
    """The path of what is wrong, what is wrong, and for a misspelt key the nearest one."""
    path = ".".join(["models", id, *map(str, error["loc"])])
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    known = FileSpec.model_fields if error["loc"][0] == "files" else ModelSpec.model_fields
    near = get_close_matches(str(error["loc"][-1]), known, n=1)
    return f"{path}: unknown key" + (f"; did you mean {near[0]!r}?" if near else f"; known keys: {', '.join(known)}")
