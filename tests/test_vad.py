import numpy as np
import pytest
from pydantic import ValidationError

from deployments.audio import to_float
from deployments.contracts import ModelFiles, Pcm, VoiceActivity
from deployments.errors import BadModel
from deployments.tones import encode
from deployments.vad.load import load_vad
from deployments.vad.options import VadOptions
from tests.spoken import model, speech

ENERGY = VadOptions(engine="energy", model=None)


def loaded(engine: str) -> VoiceActivity:
    if engine == "energy":
        return load_vad(ENERGY, None)
    return load_vad(VadOptions(model="silero-vad-v6"), model("silero-vad-v6", "vad"))


@pytest.fixture(scope="module", params=["silero", "energy"])
def vad(request: pytest.FixtureRequest) -> VoiceActivity:
    return loaded(request.param)


def heard(vad: VoiceActivity, audio: Pcm) -> list[float]:
    windows = to_float(audio[: len(audio) // 512 * 512]).reshape(-1, 1, 512)
    states = [vad.new_state()]
    return [float(vad.probabilities(window, states)[0]) for window in windows]


def noise(loudness: float, samples: int = 32_000) -> Pcm:
    return np.random.default_rng(5).normal(0, loudness, samples).astype(np.int16)


def test_speech_is_voiced_soon_after_it_begins_and_quiet_noise_is_not(vad: VoiceActivity) -> None:
    for audio in speech().values():
        quiet = noise(30, 16_384)
        voiced = np.array(heard(vad, np.concatenate([quiet, audio]))) > 0.5
        assert not voiced[: 16_384 // 512].any()
        assert voiced[16_384 // 512 :].mean() > 0.4
        assert voiced[16_384 // 512 :][:20].any()


def test_a_window_among_others_is_heard_as_alone(vad: VoiceActivity) -> None:
    sounds = [*speech().values(), noise(30), noise(3000), encode("hello there", 16_000)]
    length = min(map(len, sounds)) // 512
    alone = np.array([heard(vad, sound[: length * 512]) for sound in sounds])
    states = [vad.new_state() for _ in sounds]
    together = [
        vad.probabilities(np.stack([to_float(sound[i * 512 : (i + 1) * 512]) for sound in sounds]), states)
        for i in range(length)
    ]
    np.testing.assert_allclose(np.array(together).T, alone, atol=1e-5)


def test_no_call_and_a_growing_number_of_calls(vad: VoiceActivity) -> None:
    assert vad.probabilities(np.zeros((0, 512), np.float32), []).shape == (0,)
    for calls in (3, 1, 40):
        states = [vad.new_state() for _ in range(calls)]
        assert vad.probabilities(np.zeros((calls, 512), np.float32), states).shape == (calls,)
    with pytest.raises(ValueError, match=r"states go with|shorter"):
        vad.probabilities(np.zeros((2, 512), np.float32), [vad.new_state()])


def test_loudness_hears_tones_for_a_minute_but_learns_a_steady_noise() -> None:
    vad = loaded("energy")
    tones = encode("the quick brown fox " * 50, 16_000)
    assert np.mean(np.array(heard(vad, tones)) > 0.5) > 0.95
    hum = noise(700, 16_000 * 150)
    assert not (np.array(heard(vad, hum))[-100:] > 0.5).any()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValidationError, match="silero needs a model"):
        VadOptions(engine="silero", model=None)
    with pytest.raises(BadModel):
        load_vad(VadOptions(), ModelFiles("x", {}))
    with pytest.raises(BadModel, match="several calls at once"):
        load_vad(VadOptions(), model("smart-turn-v3.2", "turn"))
