import asyncio

import numpy as np
import pytest

from deployments.asr.deployment import AsrDeployment
from deployments.asr.options import AsrOptions
from deployments.asr.synthetic import SyntheticAsr
from deployments.errors import BadRequest, ModelFailed
from deployments.guard import answering, check_speech
from deployments.options import Timing
from deployments.store import StoreOptions
from deployments.tones import encode

ENGINE = SyntheticAsr.load(None, AsrOptions(model="x", engine="synthetic", timing=Timing(first_item_ms=0)))


async def test_it_hears_what_the_tones_say() -> None:
    transcript = await ENGINE.transcribe(encode("what time is it, please?", 16_000))
    assert transcript.text == "what time is it, please?"
    assert transcript.no_speech_probability == 0


async def test_other_sound_is_told_by_its_length_and_silence_is_nothing() -> None:
    noise = np.pad(np.random.default_rng(0).normal(0, 3000, 33_600).astype(np.int16), 8000)
    assert (await ENGINE.transcribe(noise)).text == "sound of 2.1 seconds"
    for silence in (noise[:8000], noise[:0], np.full(16_000, -5, np.int16)):
        transcript = await ENGINE.transcribe(silence, language="de")
        assert (transcript.text, transcript.no_speech_probability, transcript.language) == ("", 1, "de")


@pytest.mark.parametrize(
    "audio", [np.zeros(9), np.zeros((9, 1), np.int16), b"\0\0", np.zeros(16_001, np.int16)], ids=lambda a: str(type(a))
)
def test_other_audio_is_refused(audio: object) -> None:
    with pytest.raises(BadRequest) as refused:
        check_speech(audio, longest_s=1)  # type: ignore[arg-type]
    assert refused.value.field == "audio"


async def test_the_deployment_checks_what_comes_and_keeps_its_deadline() -> None:
    slow = AsrOptions(model="x", engine="synthetic", timing=Timing(first_item_ms=60_000), deadline_s=0.05)
    deployment = AsrDeployment(slow, None, StoreOptions())
    with pytest.raises(BadRequest):
        await deployment.transcribe(np.zeros(9))  # type: ignore[arg-type]
    with pytest.raises(ModelFailed, match=r"x took longer than 0\.05 s"):
        await deployment.transcribe(np.zeros(9, np.int16))


async def test_what_breaks_inside_leaves_as_a_failure_of_the_model_but_being_cancelled_does_not() -> None:
    with pytest.raises(ModelFailed, match="x failed: out of memory"):
        async with answering("x", 5):
            raise RuntimeError("out of memory")
    with pytest.raises(asyncio.CancelledError):
        async with answering("x", 5):
            raise asyncio.CancelledError
