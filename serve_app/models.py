"""The models as a call sees them: the contracts, whether over Ray Serve handles or in this very process."""

from collections.abc import Callable
from dataclasses import dataclass

from deployments.contracts import Asr, Llm, Tts, TurnDetector
from deployments.store import Kind

Promote = Callable[[Kind, str], None]
"""Somebody waits now for what this call has asked of a kind of model, and has not got yet."""


@dataclass(frozen=True, slots=True)
class Models:
    """One of each kind. Tests put engines here, the ingress puts handles."""

    asr: Asr
    llm: Llm
    tts: Tts
    turn: TurnDetector
    promote: Promote = lambda kind, call: None
