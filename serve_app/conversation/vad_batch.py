"""Voice activity of all the calls of a process, with one run of the model for all windows that are due."""

import asyncio

import numpy as np
from numpy.typing import NDArray

from deployments.contracts import VoiceActivity


class BatchedVoiceActivity:
    """Collects the windows that calls hand in during one pass of the event loop and runs the model once for them.

    The run itself is about a quarter of a millisecond, shorter than a hand-over to a thread, so it happens on the
    loop. Nobody waits longer for company than the loop takes to come round.
    """

    def __init__(self, model: VoiceActivity) -> None:
        self.model = model
        self._due: list[tuple[NDArray[np.float32], object, asyncio.Future[float]]] = []

    async def probability(self, window: NDArray[np.float32], state: object) -> float:
        """The probability of a voice in this window of one call: float32[window_samples] in [-1, 1)."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[float] = loop.create_future()
        if not self._due:
            loop.call_soon(self._run)
        self._due.append((window, state, answer))
        return await answer

    def _run(self) -> None:
        due, self._due = self._due, []
        try:
            voiced = self.model.probabilities(
                np.stack([window for window, _, _ in due]), [state for _, state, _ in due]
            )
        except Exception as broken:
            for _, _, answer in due:
                if not answer.done():
                    answer.set_exception(broken)
            return
        for (_, _, answer), probability in zip(due, voiced, strict=True):
            if not answer.done():
                answer.set_result(float(probability))
