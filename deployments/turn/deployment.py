"""The turn deployment: an engine that judges by its sound whether the caller's turn is over."""

from collections.abc import Mapping
from typing import Protocol

from deployments.base import ModelDeployment
from deployments.contracts import Engine, Pcm, TurnDetector
from deployments.guard import answering, check_speech
from deployments.turn.options import TurnOptions
from deployments.urgency import Urgency

LONGEST_S = 300.0
"""Only the last 8 s are looked at; more than this is a mistake of the caller's."""


class TurnEngine(TurnDetector, Engine, Protocol):
    """What a turn engine is."""


class TurnDeployment(ModelDeployment[TurnEngine]):
    """End of turn, judged anew each time: no state between requests."""

    engines: Mapping[str, str] = {
        "smart_turn": "deployments.turn.smart_turn:SmartTurn",
        "synthetic": "deployments.turn.synthetic:SyntheticTurn",
    }
    options: TurnOptions

    async def end_of_turn(self, audio: Pcm, *, urgency: Urgency | None = None) -> float:
        """`audio`: int16[n] at 16 kHz; of more than 8 s, only the last 8 are looked at. Returns a probability.

        Raises BadRequest for audio of another kind, AtCapacity as `DeviceQueue.place` does, ModelFailed when the
        model breaks or takes longer than `deadline_s`.
        """
        check_speech(audio, LONGEST_S)
        async with self.place(urgency), answering(self.options.model, self.options.deadline_s):
            return await self.engine.end_of_turn(audio)
