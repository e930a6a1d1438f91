"""Silero VAD 5 and 6 (snakers4/silero-vad, MIT), one run for all calls that have a window ready.

The net takes 512 samples at 16 kHz after the 64 samples before them, and carries the state of a recurrent layer:
`input` float32[n, 576], `state` float32[2, n, 128], `sr` int64 -> `output` float32[n, 1], `stateN` float32[2, n, 128].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from deployments.contracts import SPEECH_RATE_HZ, ModelFiles
from deployments.errors import BadModel
from deployments.guard import only_file

WINDOW_SAMPLES = 512
_CONTEXT = 64
_UNITS = 128

Floats = NDArray[np.float32]


@dataclass(slots=True)
class _Heard:
    """Of one call: the last samples, and what the recurrent layer keeps of all before."""

    context: Floats  # [64]
    recurrent: Floats  # [2, 128]


class SileroVad:
    """One session for all calls of the process. Not for several threads at once: the inputs' memory is reused."""

    window_samples = WINDOW_SAMPLES

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._rate = np.array(SPEECH_RATE_HZ, np.int64)
        self._grow(1)

    @classmethod
    def load(cls, files: ModelFiles | None) -> "SileroVad":
        """`files`: the official ONNX export. Raises BadModel."""
        path = only_file(files, ".onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # so small a net only loses by more
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as broken:  # onnxruntime has no base class for its errors
            raise BadModel(f"{path.name} cannot be loaded: {broken}") from broken
        if [node.name for node in session.get_inputs()] != ["input", "state", "sr"]:
            raise BadModel(f"{path.name} is no Silero VAD that takes several calls at once (inputs input, state, sr)")
        vad = cls(session)
        vad.probabilities(np.zeros((1, WINDOW_SAMPLES), np.float32), [vad.new_state()])
        return vad

    def new_state(self) -> _Heard:
        return _Heard(np.zeros(_CONTEXT, np.float32), np.zeros((2, _UNITS), np.float32))

    def probabilities(self, windows: Floats, states: Sequence[object]) -> Floats:
        """float32[n, 512] in [-1, 1] -> float32[n]. The same for a window alone or among others."""
        calls = [state for state in states if isinstance(state, _Heard)]
        if windows.shape != (len(calls), WINDOW_SAMPLES) or len(calls) != len(states):
            raise ValueError(f"{len(states)} states go with float32[{len(states)}, 512], not {list(windows.shape)}")
        if not calls:
            return np.zeros(0, np.float32)
        before, recurrent = self._gather(windows, calls)
        output, after = self._session.run(None, {"input": before, "state": recurrent, "sr": self._rate})
        for i, call in enumerate(calls):
            call.context[:] = windows[i, -_CONTEXT:]
            call.recurrent[:] = after[:, i]
        heard: Floats = output[:, 0]
        return heard

    def _gather(self, windows: Floats, calls: Sequence[_Heard]) -> tuple[Floats, Floats]:
        n = len(calls)
        if n > len(self._inputs):
            self._grow(n)
        inputs, recurrent = self._inputs[:n], self._recurrent[: 2 * n * _UNITS].reshape(2, n, _UNITS)
        inputs[:, _CONTEXT:] = windows
        for i, call in enumerate(calls):
            inputs[i, :_CONTEXT] = call.context
            recurrent[:, i] = call.recurrent
        return inputs, recurrent

    def _grow(self, calls: int) -> None:
        """Memory for so many calls at once; both are used from their start, so that each run's part is contiguous."""
        self._inputs = np.zeros((calls, _CONTEXT + WINDOW_SAMPLES), np.float32)
        self._recurrent = np.zeros(2 * calls * _UNITS, np.float32)
