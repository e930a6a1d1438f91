import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.vad.energy import EnergyVad
from deployments.vad.options import VadOptions
from serve_app.conversation.vad_batch import BatchedVoiceActivity

OPTIONS = VadOptions(engine="energy", model=None)


class CountingVad(EnergyVad):
    """Notes how many windows each run had."""

    def __init__(self) -> None:
        super().__init__(OPTIONS)
        self.runs: list[int] = []

    def probabilities(self, windows: NDArray[np.float32], states: Sequence[object]) -> NDArray[np.float32]:
        self.runs.append(len(windows))
        if np.isnan(windows).any():
            raise ValueError("not a sound")
        return super().probabilities(windows, states)


def window(loudness: float) -> NDArray[np.float32]:
    return np.full(512, loudness, np.float32)


async def test_windows_of_one_pass_are_one_run_and_each_call_gets_its_own_answer() -> None:
    vad = CountingVad()
    batched = BatchedVoiceActivity(vad)
    loudness = [0.0, 0.5, 0.001, 0.3, 0.0]
    alone = [float(EnergyVad(OPTIONS).probabilities(window(x)[None], [vad.new_state()])[0]) for x in loudness]
    for _ in range(2):
        together = await asyncio.gather(*(batched.probability(window(x), vad.new_state()) for x in loudness))
        assert together == pytest.approx(alone)
    assert vad.runs == [5, 5]


async def test_a_caller_who_leaves_meanwhile_harms_nobody() -> None:
    batched = BatchedVoiceActivity(CountingVad())
    state = batched.model.new_state
    going = asyncio.create_task(batched.probability(window(0.5), state()))
    staying = asyncio.create_task(batched.probability(window(0.5), state()))
    asyncio.get_running_loop().call_soon(going.cancel)
    assert await staying > 0.5
    with pytest.raises(asyncio.CancelledError):
        await going


async def test_a_model_that_breaks_is_told_to_all_and_the_next_windows_are_heard() -> None:
    batched = BatchedVoiceActivity(CountingVad())
    state = batched.model.new_state
    windows = [window(0.5), window(float("nan"))]
    results = await asyncio.gather(*(batched.probability(w, state()) for w in windows), return_exceptions=True)
    assert [str(result) for result in results] == ["not a sound"] * 2
    assert await batched.probability(window(0.5), state()) > 0.5
