import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.tts.trimming import LOUDNESS, PEAK, Samples, Trimmer, level, limited

RATE_HZ = 22_050


def trimmed(samples: Samples, lead_ms: float, pause_ms: float, cuts: list[int] | None = None) -> Samples:
    """All of it, given in pieces that end at `cuts`."""
    trimmer = Trimmer(RATE_HZ, lead_ms, pause_ms)
    pieces = np.split(samples, sorted(cuts or []))
    return np.concatenate([*(trimmer.push(piece) for piece in pieces), trimmer.end()])


def noise(samples: int) -> Samples:
    return np.random.default_rng(0).uniform(-0.3, 0.3, samples).astype(np.float32)


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(1, 500), st.floats(0, 50), st.floats(0, 300))
def test_silence_is_cut_to_what_is_asked(before: int, after: int, loud: int, lead_ms: float, pause_ms: float) -> None:
    made = trimmed(np.pad(np.full(loud, 0.3, np.float32), (before, after)), lead_ms, pause_ms)
    assert made.dtype == np.float32
    heard = np.count_nonzero(np.abs(made) > 0.29)
    assert loud - 2 * 66 <= heard <= loud  # 3 ms at the edges may fade
    at_least, at_most = lead_ms + pause_ms - 6, lead_ms + pause_ms + 6
    assert at_least - 0.1 <= (len(made) - loud) / 22.05 <= at_most + 0.1


@given(st.lists(st.integers(0, 9000), max_size=8))
def test_pieces_make_no_difference(cuts: list[int]) -> None:
    samples = np.concatenate([np.zeros(900), noise(3000), np.zeros(2000), noise(2000), np.zeros(1100)])
    samples = samples.astype(np.float32)
    assert np.allclose(trimmed(samples, 5, 100, cuts), trimmed(samples, 5, 100), atol=0.3 * 66 / 3000)
    assert len(trimmed(samples, 5, 100, cuts)) == len(trimmed(samples, 5, 100))


def test_silence_within_a_phrase_is_given_when_sound_follows_it() -> None:
    trimmer = Trimmer(RATE_HZ, 0, 0)
    assert len(trimmer.push(np.pad(noise(1000), (0, 4000)))) == 1000
    assert len(trimmer.push(np.zeros(500, np.float32))) == 0
    assert len(trimmer.push(noise(1000))) == 5500


def test_there_is_no_sound_in_silence() -> None:
    assert len(trimmed(np.zeros(500, np.float32), 5, 100)) == 0


def test_peaks_are_bent_and_what_is_below_them_stays() -> None:
    ramp = np.linspace(-2, 2, 1001, dtype=np.float32)
    bent = limited(ramp)
    assert bent.dtype == np.float32
    assert np.abs(bent).max() < 1
    assert np.array_equal(bent[np.abs(ramp) <= PEAK], ramp[np.abs(ramp) <= PEAK])
    assert (np.diff(bent) > 0).all()


def test_the_level_is_that_of_the_sound_alone() -> None:
    tone = (LOUDNESS * np.sqrt(2) * np.sin(np.arange(22_050) / 10)).astype(np.float32)
    assert abs(level(np.pad(tone, 50_000)) / LOUDNESS - 1) < 0.02
    assert level(np.zeros(100, np.float32)) == 0 == level(np.zeros(0, np.float32))
