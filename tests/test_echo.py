import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments import tones
from deployments.audio import to_pcm
from deployments.contracts import SPEECH_RATE_HZ, Pcm
from loadtest.speech import RECORDINGS
from serve_app.call_options import TurnTakingOptions
from serve_app.conversation.echo import DELAY_MS, PlayedMemory, likeness
from tests.interjection import INTERJECTION
from tests.spoken import speech

OPTIONS = TurnTakingOptions()
RATE_HZ = 16_000
HEARD_MS = 448
Samples = NDArray[np.float64]


def syllables(seed: int, seconds: float, pitch_hz: float) -> Samples:
    """Something like speech: syllables of a gliding voice through changing formants, and hisses between them."""
    rng, parts = np.random.default_rng(seed), [np.zeros(0)]
    while sum(map(len, parts)) < seconds * RATE_HZ:
        t = np.arange(int(rng.uniform(0.12, 0.25) * RATE_HZ)) / RATE_HZ
        glide = pitch_hz * rng.uniform(0.85, 1.2) * (1 + rng.uniform(-0.8, 0.8) * t)
        phase = 2 * np.pi * np.cumsum(glide) / RATE_HZ
        formants = rng.uniform([300, 900, 2200], [800, 2000, 3000])
        gains = [np.sum(1 / (1 + ((k * pitch_hz - formants) / 120) ** 2)) for k in range(1, 30)]
        voice = sum(gain * np.sin(k * phase + k * k) for k, gain in enumerate(gains, 1))
        hiss = rng.normal(0, 0.3, int(rng.uniform(0.02, 0.07) * RATE_HZ))
        parts += [np.asarray(voice) * np.hanning(len(t)), hiss]
    sound = np.concatenate(parts)[: int(seconds * RATE_HZ)]
    return np.asarray(0.1 * sound / sound.std())


def room(seed: int, ring_s: float = 0.05) -> Samples:
    rng = np.random.default_rng(seed)
    response = rng.normal(0, 0.15, RATE_HZ // 4) * np.exp(-np.arange(RATE_HZ // 4) / ring_s / RATE_HZ)
    response[0] = 1.0
    return np.asarray(response)


def echo_of(played: Samples, response: Samples, delay_ms: int, level_db: float = -20.0) -> Samples:
    size = len(played) + len(response)
    back = np.fft.irfft(np.fft.rfft(played, size) * np.fft.rfft(response, size), size)[: len(played)]
    back *= 10 ** (level_db / 20) * played.std() / back.std()
    return np.concatenate([np.zeros(delay_ms * 16), back])[: len(played)]


def compare(heard: Samples, played: Samples, at: int) -> float:
    """At sample `at`, when the last of `heard` is in."""
    first = at - HEARD_MS * 16
    hiss = np.random.default_rng(at).normal(0, 3e-4, HEARD_MS * 16)
    return likeness(_pcm(heard[first:at] + hiss), _pcm(played[first - DELAY_MS * 16 : at]))


def _pcm(samples: Samples) -> Pcm:
    return to_pcm(samples.astype(np.float32))


def share(found: list[float]) -> float:
    """Of those that are taken for an echo."""
    return float(np.mean(np.array(found) >= OPTIONS.echo_likeness))


@pytest.mark.parametrize("delay_ms", [80, 150, 230, 310, 400])
@pytest.mark.parametrize("level_db", [-30.0, -20.0, -6.0])
def test_an_echo_is_known_at_any_delay_and_level(delay_ms: int, level_db: float) -> None:
    found = []
    for seed in range(12):
        played = syllables(seed, 2.5, 110)
        found.append(compare(echo_of(played, room(seed), delay_ms, level_db), played, 35_000))
    assert share(found) >= 0.8


def test_another_voice_is_no_echo_nor_is_one_that_speaks_over_it() -> None:
    others, both = [], []
    for seed in range(60):
        played, caller = syllables(seed, 2.5, 110), syllables(seed + 1, 2.5, 190)
        others.append(compare(caller, played, 35_000))
        both.append(compare(caller + echo_of(played, room(seed), 230), played, 35_000))
    assert share(others) <= 0.05
    assert share(both) <= 0.05


@settings(deadline=None)
@given(st.integers(0, 8_000), st.integers(0, 21_000))
def test_anything_has_a_likeness(heard: int, played: int) -> None:
    rng = np.random.default_rng(heard)
    sounds = [rng.integers(-32768, 32767, n).astype(np.int16) for n in (heard, played)]
    assert 0.0 <= likeness(sounds[0], sounds[1]) <= 1.0


def test_silence_is_like_nothing() -> None:
    sound, silence = _pcm(syllables(1, 1.0, 110)), np.zeros(16_000, np.int16)
    assert likeness(sound, silence) == likeness(silence, sound) == likeness(sound[:0], sound) == 0.0


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")
def test_recorded_people_in_a_recorded_room() -> None:
    said = [pcm / 32768.0 for pcm in speech().values()]
    response, _ = soundfile.read(RECORDINGS / "room_impulse1.wav")
    response = response[np.argmax(np.abs(response)) :]
    rng, echoes, others, both = np.random.default_rng(1), [], [], []
    for _ in range(60):
        played, caller = (said[i] / said[i].std() * 0.1 for i in rng.permutation(len(said))[:2])
        length = min(len(played), len(caller))
        played, caller = played[:length], caller[:length]
        back = echo_of(played, response, int(rng.integers(80, 401)))
        at = int(rng.integers(DELAY_MS * 16 + HEARD_MS * 16, length))
        loud = [sound[at - HEARD_MS * 16 : at].std() > 0.5 * sound.std() for sound in (back, caller)]
        if loud[0]:
            echoes.append(compare(back, played, at))
        if loud[1]:
            others.append(compare(caller, played, at))
            both.append(compare(caller + back, played, at))
    shares = [share(found) for found in (echoes, others, both)]
    print(shares, len(echoes), len(others))
    assert shares[0] >= 0.75
    assert shares[1] <= 0.1
    assert shares[2] <= 0.15


def test_the_interjection_of_tests_is_no_echo_of_letters() -> None:
    answer = tones.encode("you said: the quick brown fox jumps over the lazy dog.", SPEECH_RATE_HZ)
    over = tones.encode(INTERJECTION, SPEECH_RATE_HZ)
    for at in range(SPEECH_RATE_HZ // 2, len(answer) - len(over), SPEECH_RATE_HZ // 20):
        for length in range(128 * 16, len(over), 64 * 16):
            assert likeness(over[:length], answer[: at + length]) < TurnTakingOptions().echo_likeness


def test_the_memory_knows_when_a_sound_sounds() -> None:
    memory = PlayedMemory(1000)
    memory.push(np.full(100, 1, np.int16), 10.0)
    memory.push(np.full(100, 2, np.int16), 10.02)  # given ahead: it follows the first
    memory.push(np.full(100, 3, np.int16), 10.5)
    assert list(memory.between(10.05, 10.25)) == [1] * 50 + [2] * 100 + [0] * 50
    assert list(memory.between(10.45, 10.65)) == [0] * 50 + [3] * 100 + [0] * 50
    assert not len(memory.between(11.0, 10.0))


def test_what_is_taken_back_was_never_played() -> None:
    memory = PlayedMemory(1000)
    memory.push(np.full(100, 1, np.int16), 10.0)
    memory.push(np.full(100, 2, np.int16), 10.0)
    memory.take_back(150)
    memory.push(np.full(50, 3, np.int16), 10.05)
    assert list(memory.between(10.0, 10.2)) == [1] * 50 + [3] * 50 + [0] * 100
    memory.take_back(1000)
    assert not memory.between(10.0, 10.2).any()


@given(st.lists(st.integers(1, 2000), max_size=200))
def test_the_memory_is_bounded(lengths: list[int]) -> None:
    memory = PlayedMemory(1000)
    for length in lengths:
        memory.push(np.ones(length, np.int16), 0.0)
    assert sum(len(piece.pcm) for piece in memory._pieces) <= 32_000
