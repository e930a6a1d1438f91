"""Where frames belong in time, how late they were, and a chirp's delay: all without a room."""

import numpy as np
import pytest

from loadtest.chirp import chirp, delay_ms
from loadtest.recording import RATE_HZ, Track
from loadtest.room_sound import ROOM_RATE_HZ, TAPS, Doubler, FrameClock, Listener
from loadtest.voiced import Pcm
from tests.scripted_server import tone

FRAME_S = 0.01


def sound(seconds: float, seed: int = 1) -> Pcm:
    return np.random.default_rng(seed).normal(0, 3000, round(seconds * RATE_HZ)).astype(np.int16)


def frames(pcm: Pcm) -> list[Pcm]:
    return list(pcm.reshape(-1, round(FRAME_S * RATE_HZ)))


# --- when a frame was due


def test_a_program_that_stands_still_is_late_and_the_sound_is_not() -> None:
    clock = FrameClock()
    late_s = [0.0] * 20 + [0.05, 0.04, 0.03, 0.02, 0.01] + [0.0] * 20
    due = [clock.due_s(5 + FRAME_S * n + late, FRAME_S) for n, late in enumerate(late_s)]
    assert due == pytest.approx([5 + FRAME_S * n for n in range(len(late_s))])


def test_a_source_that_paused_is_believed_after_a_second() -> None:
    clock = FrameClock()
    for n in range(50):
        clock.due_s(FRAME_S * n, FRAME_S)
    due = [clock.due_s(0.3 + FRAME_S * n, FRAME_S) for n in range(50, 250)]
    assert due[0] == pytest.approx(0.5)
    assert due[-1] == pytest.approx(0.3 + FRAME_S * 249)


def test_no_frame_is_due_before_it_was_sent_nor_after_it_came() -> None:
    random = np.random.default_rng(7)
    late_s = random.exponential(0.004, 2000)
    clock = FrameClock()
    for n, late in enumerate(late_s):
        arrived_s = FRAME_S * n + late
        assert FRAME_S * n - 1e-9 <= clock.due_s(arrived_s, FRAME_S) <= arrived_s + 1e-9


def test_what_arrives_late_lies_in_the_recording_where_it_belongs() -> None:
    track, pcm = Track(), sound(1.0)
    listener = Listener(track)
    listener.started_s = 100.0
    for n, frame in enumerate(frames(pcm)):
        listener.receive(frame, 100.0 + FRAME_S * n + (0.03 if n % 7 == 3 else 0.0))
    assert np.array_equal(track.read(), pcm)
    assert listener.ends_at == listener.loud_until == len(pcm)
    jitter = listener.jitter()
    assert jitter.late_ms.max() == pytest.approx(30)
    assert np.median(jitter.late_ms) == pytest.approx(0, abs=1e-6)
    assert jitter.step_ms.max() == pytest.approx(30)


def test_before_the_clock_starts_nothing_is_recorded() -> None:
    track = Track()
    listener = Listener(track)
    listener.receive(sound(FRAME_S), 1.0)
    listener.started_s = 1.015
    listener.receive(sound(FRAME_S), 1.01)
    assert track.end == 0
    listener.receive(sound(FRAME_S), 1.02)
    assert track.end == round(0.015 * RATE_HZ)


def test_what_a_codec_makes_of_silence_is_silence() -> None:
    track = Track()
    listener = Listener(track)
    listener.started_s = 0.0
    listener.receive(np.full(240, 3, np.int16), 0.0)
    assert not track.read().any()
    assert (listener.ends_at, listener.loud_until) == (240, 0)


# --- the way there and back


@pytest.mark.parametrize("noise", [0.0, 300.0])
@pytest.mark.parametrize("delay", [0, 1, 2345, 9000])
def test_a_chirp_is_found_to_the_sample(delay: int, noise: float) -> None:
    received = np.random.default_rng(3).normal(0, noise, 12_000)
    received[delay : delay + len(chirp())] += 0.3 * chirp()
    found_ms = delay_ms(chirp(), received.astype(np.int16))
    assert found_ms == pytest.approx(delay * 1000 / RATE_HZ, abs=0.05)


@pytest.mark.parametrize("received", [np.zeros(12_000, np.int16), sound(0.5), np.zeros(10, np.int16), -chirp()])
def test_what_is_no_chirp_is_not_found(received: Pcm) -> None:
    assert delay_ms(chirp(), received) is None


# --- a microphone at another rate


@pytest.mark.parametrize("hz", [200, 3000, 8000])
def test_twice_as_many_samples_are_the_same_sound_a_little_later(hz: int) -> None:
    double = Doubler()
    single = tone(0.2, hz)
    doubled = np.concatenate([double(part) for part in np.split(single, 10)])
    assert len(doubled) == 2 * len(single)
    assert np.array_equal(doubled[TAPS::2], single[: -TAPS // 2])
    steady = doubled[2 * TAPS :] * np.hanning(len(doubled) - 2 * TAPS)
    spectrum, at_hz = np.abs(np.fft.rfft(steady)), np.fft.rfftfreq(len(steady), 1 / ROOM_RATE_HZ)
    assert spectrum[at_hz > 12_500].max() < spectrum.max() / 200  # nothing is heard that was not there
