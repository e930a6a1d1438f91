"""Which model deployments there are: the default one of each kind, and any number beside it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from deployments.asr.options import AsrOptions
from deployments.llm.options import LlmOptions
from deployments.options import ModelOptions, Options
from deployments.store import Catalogue, Kind, ModelSpec
from deployments.tts.options import TtsOptions
from deployments.turn.options import TurnOptions
from deployments.vad.options import VadOptions

SERVED_KINDS: tuple[Kind, ...] = ("asr", "llm", "tts", "turn")
"""Kinds with deployments of their own, named like them. Voice activity is detected inside the ingress."""
TAKEN = ("ingress", "rooms", *SERVED_KINDS)
WITHOUT_WEIGHTS = "synthetic"
"""The model of every engine that needs none: it stands in no catalogue."""
ENGINES_WITHOUT_WEIGHTS = ("synthetic", "energy")


class Named(Options):
    """What a further deployment has besides the options of its kind."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{0,39}$",
        description="Name of the deployment, for calls that ask for it, for dashboards and for `antiphon models`.",
    )

    @model_validator(mode="after")
    def _is_free(self) -> "Named":
        if self.name in TAKEN:
            raise ValueError(f"{self.name!r} is the name of a deployment that is there anyway")
        return self


class MoreAsr(Named, AsrOptions):
    """Speech to text for callers whose language the default one does not know, or who ask for it by name."""

    kind: Literal["asr"]


class MoreLlm(Named, LlmOptions):
    """A language model for callers who ask for it."""

    kind: Literal["llm"]


class MoreTts(Named, TtsOptions):
    """Voices for callers who ask for one of them."""

    kind: Literal["tts"]


class MoreTurn(Named, TurnOptions):
    """A turn detector for callers who ask for it."""

    kind: Literal["turn"]


More = Annotated[MoreAsr | MoreLlm | MoreTts | MoreTurn, Field(discriminator="kind")]


def engine_of(options: ModelOptions | VadOptions) -> str:
    """Every kind's options have one, each its own choice of them."""
    return str(options.engine)  # type: ignore[union-attr]


@dataclass(frozen=True, slots=True)
class Served:
    """A model deployment. `path`: where its options stand in the settings."""

    name: str
    kind: Kind
    path: str
    options: ModelOptions

    @property
    def engine(self) -> str:
        return engine_of(self.options)

    def spec(self, catalogue: Catalogue) -> ModelSpec | None:
        """The weights; None for an engine without. Raises BadModel for a model that is unknown."""
        return None if self.engine in ENGINES_WITHOUT_WEIGHTS else catalogue.get(self.options.model, self.kind)

    def more_specs(self, catalogue: Catalogue) -> dict[str, ModelSpec]:
        """The weights of the further models in the same deployment, by id. Raises as `spec` does."""
        if not isinstance(self.options, TtsOptions) or self.engine in ENGINES_WITHOUT_WEIGHTS:
            return {}
        return {model: catalogue.get(model, self.kind) for model in self.options.more_models}


def served(defaults: Mapping[Kind, ModelOptions], more: tuple[More, ...]) -> Iterator[Served]:
    """The default deployment of each kind, then the others."""
    for kind in SERVED_KINDS:
        yield Served(kind, kind, kind, defaults[kind])
    for index, options in enumerate(more):
        yield Served(options.name, options.kind, f"more_deployments[{index}]", options)
