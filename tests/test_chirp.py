"""A chirp is found again where it is, and nowhere else."""

import numpy as np
import pytest
import soxr

from loadtest.chirp import LENGTH_S, chirp, delay_ms
from loadtest.recording import RATE_HZ
from loadtest.voiced import Pcm

RANDOM = np.random.default_rng(7)


def heard(delay_samples: int, gain: float = 1.0, noise: float = 0.0) -> Pcm:
    """.8 s with a chirp in it: int16[n] at 24 kHz."""
    sound = RANDOM.normal(0.0, max(noise, 1e-9), round(0.8 * RATE_HZ))
    sound[delay_samples : delay_samples + len(chirp())] += gain * chirp()
    return sound.clip(-32768, 32767).astype(np.int16)


def test_it_is_short_loud_and_soft_at_its_edges() -> None:
    sound = chirp()
    assert sound.dtype == np.int16
    assert len(sound) == LENGTH_S * RATE_HZ
    assert 10_000 < np.abs(sound).max() < 16_000
    assert np.abs(sound[[0, 1, -2, -1]]).max() < 100


@pytest.mark.parametrize("samples", [0, 1, 2400, 12_345, round(0.8 * RATE_HZ) - len(chirp())])
def test_the_delay_is_exact_to_the_sample(samples: int) -> None:
    assert delay_ms(chirp(), heard(samples)) == pytest.approx(samples * 1000 / RATE_HZ)


@pytest.mark.parametrize(("gain", "noise"), [(0.05, 0.0), (1.0, 1500.0), (-1.5, 0.0), (2.0, 500.0)])
def test_quieter_louder_and_in_noise(gain: float, noise: float) -> None:
    found = delay_ms(chirp(), heard(4800, abs(gain), noise))
    assert found == pytest.approx(200.0, abs=0.1)


def test_another_rate_on_its_way_changes_little() -> None:
    there = soxr.resample(heard(4800), RATE_HZ, 48_000)
    assert delay_ms(chirp(), soxr.resample(there, 48_000, RATE_HZ)) == pytest.approx(200.0, abs=0.5)


def test_through_a_narrow_path() -> None:
    there = soxr.resample(heard(4800), RATE_HZ, 8000)
    assert delay_ms(chirp(), soxr.resample(there, 8000, RATE_HZ)) == pytest.approx(200.0, abs=0.5)


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(19_200, np.int16),
        np.zeros(100, np.int16),
        np.zeros(0, np.int16),
        RANDOM.normal(0, 8000, 19_200).clip(-32768, 32767).astype(np.int16),
        (8000 * np.sin(2 * np.pi * 450 * np.arange(19_200) / RATE_HZ)).astype(np.int16),
        heard(4800)[: 4800 + len(chirp()) // 3],
        chirp()[::-1].copy(),
    ],
    ids=["silence", "too short", "nothing", "noise", "a tone", "its beginning", "backwards"],
)
def test_what_is_not_there_is_not_found(sound: Pcm) -> None:
    assert delay_ms(chirp(), sound) is None


def test_of_two_the_louder_counts_for_nothing_and_the_likelier_does() -> None:
    both = heard(2400, 0.2)
    both[9600 : 9600 + 1440] += (20_000 * np.sin(np.arange(1440) / 5)).astype(np.int16)
    assert delay_ms(chirp(), both) == pytest.approx(100.0, abs=0.1)
