"""Synthetic models under the names of deployments."""

from typing import Any

from deployments.store import Kind
from serve_app.directory import Directory
from serve_app.served import SERVED_KINDS
from tests.call_kit import synthetic_asr, synthetic_llm, synthetic_tts, synthetic_turn


def directory_of(**more: tuple[Kind, Any]) -> Directory:
    """The default model of each kind, and `more` by name. None has said yet what it can do."""
    models: dict[str, Any] = {
        "asr": synthetic_asr(),
        "llm": synthetic_llm(),
        "tts": synthetic_tts(),
        "turn": synthetic_turn(),
    }
    kinds: dict[str, Kind] = {kind: kind for kind in SERVED_KINDS}
    return Directory(
        models | {name: model for name, (_, model) in more.items()},
        kinds | {name: kind for name, (kind, _) in more.items()},
    )
