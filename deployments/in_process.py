"""The engines of given settings in this process, without Ray: for measuring them, and for making speech.

The settings are what a server would run, all sources applied: `antiphon check-config FILE --json` prints them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from deployments.asr.deployment import AsrDeployment, AsrEngine
from deployments.asr.options import AsrOptions
from deployments.base import engine_class
from deployments.contracts import ModelFiles, VoiceActivity
from deployments.errors import BadModel
from deployments.llm.deployment import LlmDeployment, LlmEngine
from deployments.llm.options import LlmOptions
from deployments.options import ModelOptions
from deployments.store import Catalogue, Kind, Store, StoreOptions
from deployments.tts.deployment import TtsDeployment, TtsEngine
from deployments.tts.options import TtsOptions
from deployments.turn.deployment import TurnDeployment, TurnEngine
from deployments.turn.options import TurnOptions
from deployments.vad.load import load_vad
from deployments.vad.options import VadOptions

WITHOUT_WEIGHTS = ("synthetic", "energy")
SETTINGS_HELP = "what `antiphon check-config CONFIG --json` prints; - is standard input"


class Call(BaseModel):
    """What of the section about calls a model sees."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    instructions: str


class Sections(BaseModel):
    """The parts of the settings that are about models, and how the LLM is spoken to."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    asr: AsrOptions
    llm: LlmOptions
    tts: TtsOptions
    turn: TurnOptions
    vad: VadOptions
    call: Call
    models: dict[str, dict[str, Any]] = {}
    store: StoreOptions = StoreOptions()


def read_sections(settings: str) -> Sections:
    """From a JSON file of this name; `-` is standard input. Raises BadModel, with one line, for anything else."""
    try:
        text = sys.stdin.read() if settings == "-" else Path(settings).read_text(encoding="utf-8")
        return Sections.model_validate_json(text)
    except (OSError, UnicodeDecodeError, ValidationError) as wrong:
        raise BadModel(f"{settings}: no resolved settings: {' '.join(str(wrong).split())}") from wrong


class Engines:
    """Loads what is asked for, and only that. Every method blocks until the model is warm, and raises BadModel."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections
        self._catalogue = Catalogue.load(sections.models)
        self._store = Store(sections.store)

    def asr(self) -> AsrEngine:
        engine: AsrEngine = self._load("asr", AsrDeployment.engines, self.sections.asr)
        return engine

    def llm(self) -> LlmEngine:
        engine: LlmEngine = self._load("llm", LlmDeployment.engines, self.sections.llm)
        return engine

    def tts(self) -> TtsEngine:
        engine: TtsEngine = self._load("tts", TtsDeployment.engines, self.sections.tts)
        return engine

    def turn(self) -> TurnEngine:
        engine: TurnEngine = self._load("turn", TurnDeployment.engines, self.sections.turn)
        return engine

    def vad(self) -> VoiceActivity:
        return load_vad(self.sections.vad, self._files("vad", self.sections.vad.engine, self.sections.vad.model))

    def _load(self, kind: Kind, engines: Mapping[str, str], options: ModelOptions) -> Any:
        name: str = options.engine  # type: ignore[attr-defined]  # every kind's options have one
        return engine_class(engines, name).load(self._files(kind, name, options.model), options)

    def _files(self, kind: Kind, engine: str, model: str | None) -> ModelFiles | None:
        return (
            None if engine in WITHOUT_WEIGHTS or model is None else self._store.fetch(self._catalogue.get(model, kind))
        )
