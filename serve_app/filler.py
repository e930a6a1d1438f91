"""What is said where an answer takes long, so that nobody thinks that the line is dead."""

import asyncio
from collections.abc import Callable

from deployments.contracts import AudioChunk
from serve_app.conversation.timeline import Timeline, now_s
from serve_app.mouth import Mouth
from serve_app.stage import Stage
from serve_app.told_answer import ToldAnswer


class Filler:
    """Of one answer. `kept` gives the sound of a text that was made in advance, if there is any; `may_fill` is asked
    right before."""

    def __init__(
        self,
        stage: Stage,
        told: ToldAnswer,
        mouth: Mouth,
        kept: Callable[[str], tuple[AudioChunk, ...]],
        may_fill: Callable[[], bool],
    ) -> None:
        self.begun = False
        """It is said to its end, and the answer follows."""
        self._stage = stage
        self._told = told
        self._mouth = mouth
        self._kept = kept
        self._may_fill = may_fill

    async def run(self, timeline: Timeline) -> None:
        """Wait until the answer is late, which is counted from the turn's end, and say so."""
        options = self._stage.options
        judged = timeline.stamps.get("turn_judged")
        late_s = (now_s() if judged is None else judged.at_s) + options.filler_after_ms / 1000
        await asyncio.sleep(late_s - now_s())
        if self._mouth.sounds or not (sound := self._sound()):
            return
        self.begun = True
        await self._mouth.fill(self._told.begin_aside(options.filler), sound)
        self._told.end_aside()

    def _sound(self) -> tuple[AudioChunk, ...]:
        """Nothing where somebody keeps the agent silent, or nobody would hear it."""
        answer = self._told.answer
        wanted = answer.output == "audio" and answer.options.in_conversation
        if not wanted or self._stage.outbox.paused or not (sound := self._kept(self._stage.options.filler)):
            return ()
        return sound if self._may_fill() else ()
