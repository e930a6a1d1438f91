"""A microphone into which several sounds fall, and an ear for the agent."""

import numpy as np

from loadtest.ear import STILL, Ear
from loadtest.mixer import Mixer
from loadtest.recording import Track
from loadtest.sound import FRAME_SAMPLES
from loadtest.voiced import Pcm
from tests.scripted_server import tone


def frames(mixer: Mixer, number: int) -> Pcm:
    return np.concatenate([mixer.frame() for _ in range(number)])


def test_an_echo_comes_back_so_late_and_so_loud() -> None:
    heard, mixer = Track(), Mixer(echo=(80, -20.0))
    mixer.hear(heard)
    heard.write(1000, sound := tone(0.1))
    microphone = frames(mixer, 20)
    delay = 80 * 24
    assert not microphone[: 1000 + delay].any()
    assert np.abs(microphone[1000 + delay :][: len(sound)] - sound / 10).max() <= 1
    assert not microphone[1000 + delay + len(sound) :].any()


def test_what_is_heard_later_is_not_in_the_echo_yet() -> None:
    heard, mixer = Track(), Mixer(echo=(100, 0.0))
    mixer.hear(heard)
    first = frames(mixer, 10)
    heard.write(mixer.at, tone(0.1))
    heard.cut(mixer.at + FRAME_SAMPLES)  # the caller stopped playing it
    later = frames(mixer, 20)
    assert not first.any()
    assert np.count_nonzero(later) <= FRAME_SAMPLES
    assert later[2400:][:FRAME_SAMPLES].any()


def test_sounds_begin_with_the_next_frame_and_lie_over_each_other() -> None:
    mixer = Mixer()
    frames(mixer, 3)
    long, short = tone(0.1), tone(0.05, 700)
    assert mixer.place(long) == mixer.at == 3 * FRAME_SAMPLES
    begun = frames(mixer, 1)
    mixer.place(short)
    rest = frames(mixer, 10)
    wanted = long.astype(int)
    wanted[FRAME_SAMPLES:][: len(short)] += short
    assert np.array_equal(np.concatenate((begun, rest))[: len(long)], wanted)
    assert not rest[len(long) :].any()


def test_noise_goes_round_and_nothing_is_louder_than_can_be() -> None:
    mixer = Mixer(bed=np.full(700, 20_000, np.int16))
    mixer.place(np.full(900, 20_000, np.int16))
    sound = frames(mixer, 4)
    assert (sound[:900] == 32_767).all()
    assert (sound[900:] == 20_000).all()


def test_an_ear_hears_when_the_agent_is_audible_though_frames_come_late() -> None:
    track = Track()
    ear = Ear(track)
    ear.look(24_000)
    assert (ear.first_after(0), ear.loud_until()) == (None, 0)
    assert not ear.audible(24_000)
    track.write(24_000 - 2400, tone(0.1))  # it had been on its way
    ear.look(24_480)
    assert ear.first_after(0) == 24_000 - 2400
    assert ear.first_after(23_000) == 23_040
    assert ear.loud_until() == 24_000
    assert ear.audible(24_000 + STILL - 1)
    assert not ear.audible(24_000 + STILL)
