"""Turn detection without a model: it reads the tones of the synthetic TTS, and looks at the punctuation."""

from deployments.contracts import SPEECH_RATE_HZ, Capabilities, ModelFiles, Pcm
from deployments.synthetic import Clockwork
from deployments.tones import decode
from deployments.turn.options import TurnOptions

UNFINISHED, FINISHED = 0.1, 0.95
_GOES_ON = (",", "...", "-", ":", ";")  # as tones are read back: an ellipsis is three dots, a dash a hyphen
_LOOKED_AT = 8 * SPEECH_RATE_HZ


class SyntheticTurn:
    """Speech that ends with a comma, an ellipsis or the like goes on; everything else is finished."""

    def __init__(self, options: TurnOptions) -> None:
        self._clockwork = Clockwork(options.timing)

    @classmethod
    def load(cls, files: ModelFiles | None, options: TurnOptions) -> "SyntheticTurn":
        """`files` is not looked at: there are no weights."""
        return cls(options)

    def capabilities(self) -> Capabilities:
        return Capabilities(rate_hz=SPEECH_RATE_HZ)

    async def unload(self) -> None:
        """Nothing was loaded."""

    async def end_of_turn(self, audio: Pcm) -> float:
        """Takes `first_item_ms`."""
        async with self._clockwork.request():
            await self._clockwork.first_item()
        return UNFINISHED if decode(audio[-_LOOKED_AT:]).endswith(_GOES_ON) else FINISHED
