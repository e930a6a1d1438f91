"""All settings: the `args` of the application in a Serve config file. Without any it is the local system."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from deployments.asr.options import AsrOptions
from deployments.llm.options import LlmOptions
from deployments.options import LogOptions, ModelOptions, Options
from deployments.store import Catalogue, Kind, ModelSpec, StoreOptions
from deployments.tts.options import TtsOptions
from deployments.turn.options import TurnOptions
from deployments.vad.options import VadOptions
from serve_app.admin.options import AdminOptions
from serve_app.call_options import CallOptions
from serve_app.options import ClusterOptions, IngressOptions, LiveKitOptions, RegistryOptions
from serve_app.served import ENGINES_WITHOUT_WEIGHTS, SERVED_KINDS, WITHOUT_WEIGHTS, More, Served, served
from serve_app.settings_sources import Variables, resolve, shown

DEFAULT_MODELS: Mapping[str, str] = {
    "asr": "whisper-tiny.en",
    "llm": "smollm2-135m",
    "tts": "piper-joe",
    "turn": "smart-turn-v3.2",
    "vad": "silero-vad-v6",
}
"""A spoken conversation on two cores without a GPU."""


class Settings(Options):
    """Everything that can be chosen. Validating applies `${VAR}`, `.env` and the environment (see settings_sources),
    so that `serve run FILE` and `antiphon up FILE` mean the same; a pickled copy is taken as it is."""

    asr: AsrOptions = Field(AsrOptions(model=DEFAULT_MODELS["asr"]), description="Speech to text.")
    llm: LlmOptions = Field(LlmOptions(model=DEFAULT_MODELS["llm"]), description="The language model.")
    tts: TtsOptions = Field(TtsOptions(model=DEFAULT_MODELS["tts"]), description="Text to speech.")
    turn: TurnOptions = Field(TurnOptions(model=DEFAULT_MODELS["turn"]), description="Is the caller's turn over?")
    vad: VadOptions = Field(VadOptions(model=DEFAULT_MODELS["vad"]), description="Is somebody speaking?")
    more_deployments: tuple[More, ...] = Field(
        (),
        description="Further models, each a deployment of its own: a list of the options above with `kind` (asr, llm, "
        "tts or turn) and `name`. Callers get them by voice, by language, by name, or by what they can do.",
    )
    call: CallOptions = Field(CallOptions(), description="How a call goes.")
    ingress: IngressOptions = Field(IngressOptions(), description="The door.")
    admin: AdminOptions = Field(AdminOptions(), description="Looking into the system, and managing its models.")
    cluster: ClusterOptions = Field(ClusterOptions(), description="The machines.")
    livekit: LiveKitOptions = Field(LiveKitOptions(), description="LiveKit rooms.")
    registry: RegistryOptions = Field(RegistryOptions(), description="Where conversations are kept.")
    log: LogOptions = Field(LogOptions(), description="What is written down.")
    store: StoreOptions = Field(StoreOptions(), description="Where weights are kept.")
    models: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="More models, as in `deployments/models.yaml`: id to entry."
    )
    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("more_deployments")
    @classmethod
    def _names_differ(cls, more: tuple[More, ...]) -> tuple[More, ...]:
        names = [each.name for each in more]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two deployments have the same name: {', '.join(sorted(twice))}")
        return more

    @field_validator("asr", "llm", "tts", "turn")
    @classmethod
    def _every_call_needs_one(cls, options: ModelOptions) -> ModelOptions:
        if options.replicas == 0:
            raise ValueError("replicas must be 1 or more: a call asks this model from its beginning, and cannot wait")
        return options

    @model_validator(mode="wrap")
    @classmethod
    def _from_all_sources(cls, data: Any, handler: Callable[[Any], "Settings"], info: ValidationInfo) -> "Settings":
        if not isinstance(data, Mapping):
            return handler(data)
        resolved = resolve(data, cls, Variables.here(), origin=(info.context or {}).get("origin", "YAML"))
        settings = handler(_with_models(resolved.values))
        settings._origins = resolved.origins
        return settings

    def changes(self) -> Iterator[str]:
        """What differs from the defaults and where that came from: `asr.model = x (ANTIPHON_ASR__MODEL)`."""
        before = flat(Settings.model_construct())
        for path, value in flat(self).items():
            if value != before.get(path):
                yield f"{path} = {shown(path.rpartition('.')[2], value)} ({self._origin(path)})"

    def _origin(self, path: str) -> str:
        """A value inside a mapping or a list came from where the nearest thing around it came from."""
        inside = [known for known in self._origins if known.startswith((f"{path}.", f"{path}["))]
        return self._origins.get(path) or (self._origins[inside[0]] if inside else "default")


def _with_models(values: dict[str, Any]) -> dict[str, Any]:
    """A section that names no model gets the one that goes with its engine."""
    for kind, section in _sections(values):
        weightless = section.get("engine") in ENGINES_WITHOUT_WEIGHTS
        none = None if kind == "vad" else WITHOUT_WEIGHTS
        section.setdefault("model", none if weightless else DEFAULT_MODELS[kind])
    return values


def _sections(values: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Those about models, by kind."""
    more = values.get("more_deployments")
    further = [each for each in more if isinstance(each, dict)] if isinstance(more, list) else []
    listed = [(str(each.get("kind")), each) for each in further]
    for kind, section in (*values.items(), *listed):
        if kind in DEFAULT_MODELS and isinstance(section, dict):
            yield kind, section


def flat(model: BaseModel, path: str = "") -> dict[str, Any]:
    """`{"asr.model": …}`: every setting by its path."""
    found: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        here = f"{path}.{name}".lstrip(".")
        found |= flat(value, here) if isinstance(value, BaseModel) else {here: value}
    return found


def load_settings(path: Path) -> Settings:
    """The settings in a Serve config file. Raises SettingsError, each problem with its path."""
    from serve_app.config_file import read_config  # config files are made of settings: the import would be a circle

    return read_config(path).settings()


def deployments_of(settings: Settings) -> tuple[Served, ...]:
    """The model deployments, the default one of each kind first."""
    defaults: dict[Kind, ModelOptions] = {kind: getattr(settings, kind) for kind in SERVED_KINDS}
    return tuple(served(defaults, settings.more_deployments))


def vad_spec(settings: Settings) -> ModelSpec | None:
    """None for an engine without weights. Raises BadModel for a model that is unknown."""
    options = settings.vad
    catalogue = Catalogue.load(settings.models)
    return None if options.engine in ENGINES_WITHOUT_WEIGHTS else catalogue.get(str(options.model), "vad")


def needed_models(settings: Settings) -> list[ModelSpec]:
    """Everything that has to be on this machine before it can run. Raises BadModel for what is unknown."""
    catalogue = Catalogue.load(settings.models)
    found = [spec for each in deployments_of(settings) for spec in (each.spec(catalogue), *_more(each, catalogue))]
    return list({spec.id: spec for spec in (*found, vad_spec(settings)) if spec}.values())


def _more(each: Served, catalogue: Catalogue) -> Iterable[ModelSpec]:
    return each.more_specs(catalogue).values()
