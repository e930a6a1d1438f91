"""The models as a call sees them: the contracts, whether over Ray Serve handles or in this very process."""

from dataclasses import dataclass

from deployments.contracts import Asr, Llm, Tts, TurnDetector


@dataclass(frozen=True, slots=True)
class Models:
    """One of each kind. Tests put engines here, the ingress puts handles."""

    asr: Asr
    llm: Llm
    tts: Tts
    turn: TurnDetector
