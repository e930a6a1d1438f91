import numpy as np
import pytest

from deployments.contracts import Pcm
from deployments.tones import encode
from deployments.vad.energy import EnergyVad
from deployments.vad.options import VadOptions
from serve_app.call_options import ListeningOptions
from serve_app.conversation.items import SemanticVad, ServerVad, TurnDetection
from serve_app.conversation.listening import Fact, VoicePaused, VoiceResumed, VoiceStarted, milliseconds
from serve_app.conversation.vad_batch import BatchedVoiceActivity
from serve_app.ear import IDLE_MEMORY_S, Ear
from tests.call_kit import silence

OPTIONS = ListeningOptions()
SPOKEN = np.concatenate([silence(320), encode("hello", 16_000), silence(320), encode("you", 16_000), silence(320)])


def ear(detection: TurnDetection) -> Ear:
    return Ear(BatchedVoiceActivity(EnergyVad(VadOptions(engine="energy", model=None))), OPTIONS, detection)


async def heard(listener: Ear, sound: Pcm, chunk: int) -> list[Fact]:
    facts = [fact for n in range(0, len(sound), chunk) async for fact in listener.hear(sound[n : n + chunk]) if fact]
    assert listener.memory.next_sample >= listener.hearing.next_sample
    return facts


@pytest.mark.parametrize("chunk", [1, 160, 320, 512, 777, 48_000])
async def test_the_same_is_heard_in_chunks_of_any_length(chunk: int) -> None:
    listener = ear(SemanticVad())
    facts = await heard(listener, SPOKEN if chunk > 1 else SPOKEN[:8000], chunk)
    assert [type(fact) for fact in facts[:1]] == [VoiceStarted]
    started = facts[0]
    assert isinstance(started, VoiceStarted)
    assert abs(milliseconds(started.first_sample) - 320) <= 32
    if chunk > 1:
        assert [type(fact) for fact in facts] == [VoiceStarted, VoicePaused, VoiceResumed, VoicePaused]


async def test_what_is_remembered_never_runs_ahead_of_what_was_heard() -> None:
    listener = ear(SemanticVad())
    async for _ in listener.hear(SPOKEN):
        assert 0 <= listener.memory.next_sample - listener.hearing.next_sample <= 512


async def test_without_turn_detection_it_only_remembers() -> None:
    listener = ear(None)
    assert await heard(listener, SPOKEN, 320) == []
    np.testing.assert_array_equal(listener.memory.between(0, len(SPOKEN)), SPOKEN)


async def test_it_listens_again_from_where_it_is() -> None:
    listener = ear(None)
    await heard(listener, silence(1000), 320)
    listener.attend(SemanticVad())
    facts = await heard(listener, SPOKEN, 320)
    assert isinstance(facts[0], VoiceStarted)
    assert abs(milliseconds(facts[0].first_sample) - 1320) <= 64


async def test_server_vad_brings_its_own_threshold_and_padding() -> None:
    listener = ear(ServerVad(threshold=0.8, prefix_padding_ms=100))
    assert listener.prefix_samples == 1600
    assert listener.hearing.onset == 0.8
    assert listener.hearing.release == pytest.approx(0.8 * OPTIONS.release_probability / OPTIONS.onset_probability)
    listener.attend(SemanticVad())
    assert milliseconds(listener.prefix_samples) == OPTIONS.prefix_padding_ms
    assert listener.hearing.onset == OPTIONS.onset_probability


async def test_a_threshold_of_one_hears_nobody() -> None:
    assert await heard(ear(ServerVad(threshold=1.0)), SPOKEN // 40, 320) == []


async def test_changing_the_detection_in_mid_speech_goes_on_with_it() -> None:
    listener = ear(SemanticVad())
    await heard(listener, SPOKEN[:7000], 320)
    listener.attend(ServerVad())
    facts = await heard(listener, SPOKEN[7000:], 320)
    assert isinstance(facts[0], VoicePaused)


async def test_an_idle_caller_costs_little_memory() -> None:
    listener = ear(SemanticVad())
    for _ in range(IDLE_MEMORY_S + 5):
        await heard(listener, silence(1000), 16_000)
        listener.forget_idle_audio()
    assert milliseconds(listener.memory.next_sample - listener.memory.first_sample) <= IDLE_MEMORY_S * 1000 + 1000


async def test_samples_have_arrived_in_real_time() -> None:
    listener = ear(SemanticVad())
    await heard(listener, SPOKEN, len(SPOKEN))
    assert listener.time_s(16_000) - listener.time_s(0) == pytest.approx(1.0)
    earlier = listener.time_s(8000)
    assert earlier < listener.time_s(len(SPOKEN))
