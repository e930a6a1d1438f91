import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.audio import resample
from deployments.contracts import Pcm
from deployments.tones import CHARACTERS, TONE_MS, audible, decode, encode

TEXT = 'hello, all the world! 3.5 aaaa lllll qzzx (why?) \'tis / "no"'


def through_mu_law(pcm: Pcm) -> Pcm:
    """G.711's law at 8 bits, as a telephone does it (ITU-T G.711, the continuous curve)."""
    levels = np.round(127.5 * (np.sign(pcm) * np.log1p(255 * np.abs(pcm / 32768.0)) / np.log(256) + 1)) / 127.5 - 1
    line: Pcm = (np.sign(levels) * (256.0 ** np.abs(levels) - 1) / 255 * 32767).astype(np.int16)
    return line


def with_noise(pcm: Pcm, snr_db: float, seed: int) -> Pcm:
    level = np.sqrt(np.mean(pcm.astype(np.float64) ** 2)) * 10 ** (-snr_db / 20)
    noise = np.random.default_rng(seed).normal(0, level, len(pcm))
    return np.clip(pcm + noise, -32768, 32767).astype(np.int16)


@given(
    st.text(alphabet=st.sampled_from(CHARACTERS), max_size=40), st.sampled_from([8000, 16_000, 22_050, 24_000, 48_000])
)
def test_what_is_encoded_is_decoded(text: str, rate_hz: int) -> None:
    assert decode(encode(text, rate_hz), rate_hz) == audible(text)


@given(st.text(max_size=30))
def test_any_text_comes_back_as_its_audible_form(text: str) -> None:
    assert decode(encode(text, 24_000), 24_000) == audible(text)
    assert audible(audible(text)) == audible(text)


@given(st.integers(0, 9000), st.integers(0, 9000), st.integers(0, 2**32 - 1))
def test_a_telephone_line_silence_and_noise_leave_it_readable(before: int, after: int, seed: int) -> None:
    sound = np.pad(encode("repeat: aa bb, 3.5!", 24_000), (before, after))
    line = resample(through_mu_law(resample(sound, 24_000, 8000)), 8000, 16_000)
    assert decode(with_noise(line, 20, seed)) == "repeat: aa bb, 3.5!"


@given(st.integers(0, len(encode(TEXT, 16_000))))
def test_cut_sound_is_a_prefix(samples: int) -> None:
    heard = decode(encode(TEXT, 16_000)[:samples])
    assert TEXT.startswith(heard)
    assert len(TEXT) >= len(heard) >= samples // (16 * TONE_MS) - 1 - TEXT[: len(heard) + 1].endswith(" ")


def test_loudness_does_not_matter() -> None:
    assert decode(encode(TEXT, 16_000) // 40) == TEXT


def test_phrases_that_are_apart_are_words_that_are_apart() -> None:
    apart = np.zeros(8000, np.int16)
    assert decode(np.concatenate([encode("hello", 16_000), apart, encode("world", 16_000)])) == "hello world"


def test_there_is_no_pause_within_a_text() -> None:
    loud = np.abs(encode("a b  c", 16_000).astype(np.int32)) > 300
    assert np.diff(np.flatnonzero(loud)).max() < 16 * TONE_MS / 2


@pytest.mark.parametrize("seconds", [0, 0.001, 0.05, 3])
def test_silence_is_nothing(seconds: float) -> None:
    assert decode(np.zeros(int(seconds * 16_000), np.int16)) == ""


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_nothing(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 3000, 80_000)
    beat = 1 + np.sin(2 * np.pi * np.arange(80_000) / 960)  # noise that swells as often as tones come
    assert decode(noise.astype(np.int16)) == decode((noise * beat).astype(np.int16)) == ""


@pytest.mark.parametrize("f0_hz", [90, 120, 220])
def test_a_voice_is_nothing(f0_hz: int) -> None:
    seconds = np.arange(48_000) / 16_000
    harmonics = [np.sin(2 * np.pi * k * f0_hz * seconds) / k for k in range(1, 30) if k * f0_hz < 4000]
    syllables = 1 + np.sin(2 * np.pi * 5 * seconds)
    assert decode((2000 * syllables * np.sum(harmonics, axis=0)).astype(np.int16)) == ""


def test_a_single_note_is_nothing() -> None:
    assert decode((8000 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)).astype(np.int16)) == ""
