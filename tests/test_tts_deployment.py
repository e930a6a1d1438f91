from collections.abc import AsyncGenerator

import numpy as np
import pytest

from deployments import tones
from deployments.contracts import AudioChunk
from deployments.errors import BadRequest, ModelFailed
from deployments.options import Timing
from deployments.store import StoreOptions
from deployments.tts.deployment import TtsDeployment, check
from deployments.tts.options import TtsOptions

FAST = Timing(first_item_ms=0, items_per_s=1e6)


def deployed(**options: object) -> TtsDeployment:
    settings = TtsOptions.model_validate({"model": "tones", "engine": "synthetic", "timing": FAST, **options})
    return TtsDeployment(settings, None, StoreOptions())


async def spoken(chunks: AsyncGenerator[AudioChunk, None]) -> str:
    sound = [(chunk.pcm, chunk.rate_hz) async for chunk in chunks]
    return tones.decode(np.concatenate([pcm for pcm, _ in sound]), sound[0][1]) if sound else ""


async def test_it_speaks() -> None:
    assert await spoken(deployed().speak("Good morning.")) == "good morning."


async def test_text_with_nothing_to_say_yields_nothing() -> None:
    assert await spoken(deployed().speak("")) == ""


async def test_a_voice_can_have_further_names() -> None:
    deployment = deployed(voices={"alloy": "tones"}, voice="alloy")
    assert await spoken(deployment.speak("hi", voice="alloy")) == await spoken(deployment.speak("hi")) == "hi"
    assert (await deployment.capabilities()).voices == ("alloy", "tones")  # what clients may choose from


@pytest.mark.parametrize(
    ("request_", "field", "says"),
    [
        ({"text": "x" * 101}, "text", "101 characters, more than 100"),
        ({"text": "hi", "speed": 0.2}, "speed", "0.2 is not between 0.25 and 4"),
        ({"text": "hi", "speed": 4.1}, "speed", "4.1 is not between"),
        ({"text": "hi", "speed": float("nan")}, "speed", "nan is not between"),
        ({"text": "hi", "voice": "nobody"}, "voice", "'nobody' is not known; there are tones"),
    ],
)
async def test_what_cannot_be_had_is_refused_with_its_field(request_: dict[str, object], field: str, says: str) -> None:
    deployment = deployed(max_characters=100)
    with pytest.raises(BadRequest, match=says) as refused:
        await spoken(deployment.speak(**request_))  # type: ignore[arg-type]
    assert refused.value.field == field


def test_of_many_voices_an_error_names_some() -> None:
    many = tuple(f"model/{n}" for n in range(900))
    with pytest.raises(BadRequest, match=r"model/0, model/1, .* and 888 more"):
        check("hi", "nobody", 1.0, TtsOptions(model="model"), many)


async def test_a_stream_ends_at_the_deadline() -> None:
    deployment = deployed(deadline_s=0.05, timing=Timing(first_item_ms=5000))
    with pytest.raises(ModelFailed, match=r"tones took longer than 0\.05 s"):
        await spoken(deployment.speak("hello"))
