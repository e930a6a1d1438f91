"""What the deployments that take audio have in common: input checked at the door, and answers with a deadline."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from deployments.contracts import SPEECH_RATE_HZ, ModelFiles, Pcm
from deployments.errors import AntiphonError, BadModel, BadRequest, ModelFailed


def check_speech(audio: Pcm, longest_s: float) -> None:
    """Refuse (BadRequest) what is not int16[n] of at most `longest_s` at 16 kHz."""
    if not isinstance(audio, np.ndarray) or audio.dtype != np.int16 or audio.ndim != 1:
        found = f"{audio.dtype}{list(audio.shape)}" if isinstance(audio, np.ndarray) else type(audio).__name__
        raise BadRequest(f"audio must be int16[n], mono, not {found}", field="audio", code="invalid_type")
    if len(audio) > longest_s * SPEECH_RATE_HZ:
        seconds = len(audio) / SPEECH_RATE_HZ
        raise BadRequest(f"audio of {seconds:.1f} s is longer than {longest_s:g} s", field="audio", code="too_long")


@asynccontextmanager
async def answering(model: str, deadline_s: float) -> AsyncIterator[None]:
    """One request of `model`: what goes wrong inside leaves as ModelFailed, and so does missing the deadline."""
    try:
        async with asyncio.timeout(deadline_s):
            yield
    except AntiphonError:
        raise
    except TimeoutError as late:
        raise ModelFailed(f"{model} took longer than {deadline_s:g} s") from late
    except Exception as broken:
        raise ModelFailed(f"{model} failed: {broken}") from broken


def only_file(files: ModelFiles | None, suffix: str) -> Path:
    """The one file of a model whose name ends in `suffix`, e.g. ".onnx"; BadModel when there is not exactly one."""
    found = [path for name, path in files.paths.items() if name.endswith(suffix)] if files else []
    if len(found) != 1:
        raise BadModel(f"{files.id if files else 'the model'} must have one {suffix} file; it has {len(found)}")
    return found[0]
