"""Several voice models behind one TTS deployment."""

import asyncio
import threading

import numpy as np
import pytest

from deployments import tones
from deployments.contracts import ModelFiles, Pcm
from deployments.errors import AtCapacity, BadModel, BadRequest
from deployments.options import Timing
from deployments.store import Store, StoreOptions
from deployments.tts.deployment import TtsDeployment
from deployments.tts.options import TtsOptions
from deployments.tts.synthetic import SyntheticTts
from deployments.tts.voices import EngineLoader

FAST = Timing(first_item_ms=0, items_per_s=1e6)


def deployed(**options: object) -> TtsDeployment:
    """`joe` is the default voice; `amy` and `kim` can be asked for."""
    chosen = {"model": "joe", "more_models": ["amy", "kim"], "engine": "synthetic", "timing": FAST, **options}
    return TtsDeployment(TtsOptions.model_validate(chosen), None, StoreOptions())


async def sound(deployment: TtsDeployment, text: str, voice: str | None = None) -> Pcm:
    return np.concatenate([chunk.pcm async for chunk in deployment.speak(text, voice=voice)])


async def resident(deployment: TtsDeployment) -> list[str]:
    found: list[str] = (await deployment.record_routing_stats())["resident"]
    return found


async def test_a_further_model_is_loaded_by_the_first_who_asks_for_its_voice() -> None:
    deployment = deployed(voices={"alloy": "amy"})
    assert (await deployment.capabilities()).voices == ("alloy", "joe", "amy", "kim")
    assert await resident(deployment) == ["joe"]
    assert tones.decode(await sound(deployment, "hello", "amy"), 24_000) == "hello"
    assert await resident(deployment) == ["amy", "joe"]
    assert len(await sound(deployment, "hello", "alloy"))
    assert await resident(deployment) == ["amy", "joe"]


async def test_who_asks_for_none_gets_the_default_one() -> None:
    deployment = deployed()
    assert len(await sound(deployment, "hello"))
    assert await resident(deployment) == ["joe"]
    deployment = deployed(voice="kim")
    assert len(await sound(deployment, "hello"))
    assert await resident(deployment) == ["joe", "kim"]


async def test_what_is_preloaded_is_there_at_once_and_may_leave() -> None:
    deployment = deployed(preload=["kim"], residency={"resident_cap": 2, "min_resident_s": 0})
    assert await resident(deployment) == ["joe", "kim"]
    assert len(await sound(deployment, "hello", "amy"))
    assert await resident(deployment) == ["amy", "joe"], "only the default model is pinned"


@pytest.mark.parametrize(
    "options", [{"preload": ["bob"]}, {"preload": ["amy", "kim"], "residency": {"resident_cap": 2}}], ids=str
)
def test_what_cannot_be_preloaded_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="preload"):
        deployed(**options)


@pytest.mark.parametrize("options", [{"voice": "bob"}, {"voices": {"alloy": "bob"}}], ids=str)
def test_an_unknown_default_refuses_the_start(options: dict[str, object]) -> None:
    with pytest.raises(BadModel, match=r"voice 'bob' is not known; there are .*joe, amy, kim"):
        deployed(**options)


async def test_an_unknown_voice_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(BadRequest, match="voice 'bob' is not known; there are joe, amy, kim") as refused:
        await sound(deployed(), "hello", "bob")
    assert refused.value.field == "voice"


async def test_a_voice_without_room_is_refused_and_the_others_go_on() -> None:
    deployment = deployed(residency={"resident_cap": 2, "wait_s": 0.01})
    assert len(await sound(deployment, "hello", "amy"))
    with pytest.raises(AtCapacity, match=r"no room for kim: in memory are joe \(pinned\), amy \(stays for 120 s\)"):
        await sound(deployment, "hello", "kim")
    assert len(await sound(deployment, "hello", "joe"))


async def test_a_model_stays_while_it_speaks() -> None:
    deployment = deployed(residency={"resident_cap": 2, "min_resident_s": 0, "wait_s": 0.5})
    speaking = deployment.speak("a text of several chunks, to be sure", voice="amy")
    assert len((await anext(speaking)).pcm)
    with pytest.raises(AtCapacity, match=r"amy \(in use by 1\)"):
        await sound(deployment, "hello", "kim")
    await speaking.aclose()
    assert len(await sound(deployment, "hello", "kim"))
    assert await resident(deployment) == ["joe", "kim"]


class Slow(SyntheticTts):
    """Its load takes until it may go on; remembers what became of the engines."""

    may_go_on = threading.Event()
    unloaded = 0

    @classmethod
    def load(cls, files: ModelFiles | None, options: TtsOptions) -> "Slow":
        assert cls.may_go_on.wait(10)
        return cls(options)

    async def unload(self) -> None:
        type(self).unloaded += 1


async def test_a_load_that_is_cancelled_ends_when_its_engine_is_gone() -> None:
    loader = EngineLoader(Slow, TtsOptions(model="joe"), {}, Store(StoreOptions()))
    loading = asyncio.create_task(loader.load("amy"))
    await asyncio.sleep(0.01)
    loading.cancel()
    await asyncio.sleep(0.01)
    assert not loading.done()
    Slow.may_go_on.set()
    await asyncio.wait([loading])
    assert loading.cancelled()
    assert Slow.unloaded == 1
