"""A Serve config file with our application in it: read, checked, and said what is wrong, all before anything starts."""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from deployments.errors import BadModel
from deployments.options import ModelOptions
from deployments.store import Catalogue, Kind
from deployments.store_options import NAME_PATTERN
from deployments.tts.options import TtsOptions
from deployments.vad.options import VadOptions
from serve_app.problems import Problem, SettingsError, explain, nearest, unknown_keys
from serve_app.served import ENGINES_WITHOUT_WEIGHTS, WITHOUT_WEIGHTS, engine_of
from serve_app.settings import Settings, deployments_of

APPLICATION = "antiphon"
IMPORT_PATH = "serve_app.app:build"


@dataclass(frozen=True, slots=True)
class Config:
    """A config file as it was read. `index` is our application's place in `applications`."""

    path: Path
    values: Mapping[str, Any]
    index: int

    @property
    def args(self) -> Any:
        return self.values["applications"][self.index].get("args") or {}

    @property
    def host(self) -> str:
        return str((self.values.get("http_options") or {}).get("host", "127.0.0.1"))

    @property
    def port(self) -> int:
        return int((self.values.get("http_options") or {}).get("port", 8000))

    def listening_on(self, host: str, port: int) -> dict[str, Any]:
        """The file's content with another address to listen on."""
        return {**self.values, "http_options": {**(self.values.get("http_options") or {}), "host": host, "port": port}}

    def settings(self) -> Settings:
        """The settings, with every source applied. Raises SettingsError."""
        prefix = ("applications", self.index, "args")
        try:
            return Settings.model_validate(self.args, context={"origin": str(self.path)})
        except ValidationError as wrong:
            raise SettingsError(explain(wrong, Settings, prefix)) from wrong


def read_config(path: Path) -> Config:
    """Raises SettingsError for what is no YAML, or has no application of ours in it."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError([Problem(place, f"not YAML: {wrong.problem}")]) from wrong
    except (yaml.YAMLError, UnicodeDecodeError) as wrong:
        raise SettingsError([Problem("", f"not YAML: {str(wrong).splitlines()[0]}")]) from wrong
    except OSError as wrong:
        raise SettingsError([Problem("", f"cannot be read: {wrong.strerror}")]) from wrong
    if not isinstance(values, dict) or not isinstance(values.get("applications"), list):
        raise SettingsError([Problem("applications", "expected a list with an application in it (a Serve config)")])
    _check_address(values.get("http_options"))
    for index, application in enumerate(values["applications"]):
        if isinstance(application, dict) and application.get("import_path") == IMPORT_PATH:
            return Config(path, values, index)
    raise SettingsError([Problem("applications", f"none of them has import_path: {IMPORT_PATH}")])


def _check_address(http_options: Any) -> None:
    """Where to listen must be known before anything starts."""
    if http_options is None:
        return
    if not isinstance(http_options, dict):
        raise SettingsError([Problem("http_options", "expected a mapping with host and port")])
    port = http_options.get("port", 8000)
    if not isinstance(port, int) or not 0 < port < 65536:
        raise SettingsError([Problem("http_options.port", f'expected a number from 1 to 65535, not "{port}"')])


def settings_problems(config: Config) -> list[Problem]:
    """Everything wrong with our settings: keys, values, models, engines, access to rooms."""
    try:
        settings = config.settings()
        prefix = f"applications[{config.index}].args"
        return [*_model_problems(settings, prefix), *_livekit_problems(settings, prefix)]
    except SettingsError as wrong:
        return list(wrong.problems)


def _model_problems(settings: Settings, prefix: str) -> list[Problem]:
    try:
        catalogue = Catalogue.load(settings.models)
    except BadModel as wrong:
        return [Problem("", f"{prefix}.{wrong}")]
    found = [
        problem
        for each in deployments_of(settings)
        for problem in _section_problems(catalogue, each.kind, each.options, f"{prefix}.{each.path}")
    ]
    return [*found, *_section_problems(catalogue, "vad", settings.vad, f"{prefix}.vad")]


def _section_problems(
    catalogue: Catalogue, kind: Kind, options: ModelOptions | VadOptions, path: str
) -> Iterator[Problem]:
    engine, name = engine_of(options), options.model
    if engine in ENGINES_WITHOUT_WEIGHTS:
        # any other name may be that of a voice
        if kind != "vad" and (name in catalogue.models or not re.fullmatch(NAME_PATTERN, str(name))):
            yield Problem(f"{path}.model", f'engine "{engine}" needs no weights: write model: {WITHOUT_WEIGHTS}')
    elif name == WITHOUT_WEIGHTS:
        message = f'engine "{engine}" needs a model with weights; engine: synthetic needs none'
        yield Problem(f"{path}.engine", message)
    else:
        places = {"model": str(name)}
        if isinstance(options, TtsOptions):
            places |= {f"more_models[{place}]": more for place, more in enumerate(options.more_models)}
        misfits = (_misfit(catalogue, kind, engine, place, id, path) for place, id in places.items())
        yield from filter(None, misfits)


def _misfit(catalogue: Catalogue, kind: Kind, engine: str, place: str, name: str, path: str) -> Problem | None:
    """A model of the catalogue that is unknown, or needs another engine."""
    try:
        model = catalogue.get(name, kind)
    except BadModel as wrong:
        return Problem(f"{path}.{place}", str(wrong))
    if model.engine == engine:
        return None
    message = f'"{engine}" cannot run {name}, which needs engine: {model.engine}'
    return Problem(f"{path}.{'engine' if place == 'model' else place}", message)


def _livekit_problems(settings: Settings, prefix: str) -> list[Problem]:
    """A server without its key and secret is of no use."""
    options = settings.livekit
    needed = {"api_key": options.api_key, "api_secret": options.api_secret} if options.url is not None else {}
    message = "missing, and the LiveKit server in livekit.url wants it; LIVEKIT_{} in the environment or .env sets it"
    return [
        Problem(f"{prefix}.livekit.{name}", message.format(name.upper())) for name, given in needed.items() if not given
    ]


def serve_problems(values: Mapping[str, Any]) -> list[Problem]:
    """What Ray Serve's own schema finds, and the keys that it would silently pass over."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Ray deprecates in others' libraries is not for our users to hear
        from ray.serve.schema import ServeDeploySchema  # importing Ray takes a second: only where it is needed

    found = unknown_keys(_without_args(values), ServeDeploySchema)
    try:
        ServeDeploySchema.model_validate(values)
    except ValidationError as wrong:
        seen = {problem.path for problem in found}
        found += [problem for problem in explain(wrong, ServeDeploySchema) if problem.path not in seen]
    return found


def _without_args(values: Mapping[str, Any]) -> dict[str, Any]:
    """The file without what is not Ray's to know: arguments and options of actors may have any keys."""
    free = ("args", "runtime_env", "user_config", "ray_actor_options")
    applications = [
        {key: value for key, value in application.items() if key not in free and key != "deployments"}
        for application in values["applications"]
        if isinstance(application, dict)
    ]
    return {**values, "applications": applications}


def missing_config(path: Path) -> str:
    """What to say about a file that is not there: the ones that are, and the nearest."""
    folder = path.parent if path.parent.is_dir() else Path("configs")
    there = sorted(str(file) for file in folder.glob("*.yaml"))
    near = nearest(str(path), there)
    hint = f"; did you mean {near}?" if near else ""
    return f"{path}: no such file{hint} there are: {', '.join(there)}" if there else f"{path}: no such file"
