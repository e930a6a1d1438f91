from pathlib import Path

import numpy as np
import pytest

from loadtest.recording import Cut, Gap, Player, Recording, Track
from loadtest.voiced import Pcm, voiced_span
from loadtest.wav import BadRecording, read_speech, write_wav

RATE_HZ = 24_000


def tone(ms: int, amplitude: int = 8000) -> Pcm:
    samples = np.arange(RATE_HZ * ms // 1000)
    return (amplitude * np.cos(2 * np.pi * 440 * samples / RATE_HZ)).astype(np.int16)


def noise(ms: int, amplitude: float) -> Pcm:
    return np.random.default_rng(1).normal(0, amplitude, RATE_HZ * ms // 1000).astype(np.int16)


# --- where a voice begins and ends


@pytest.mark.parametrize("noise_amplitude", [0, 3, 30, 300])
@pytest.mark.parametrize("amplitude", [1500, 8000, 25000])
def test_a_voice_is_found_to_the_millisecond(noise_amplitude: float, amplitude: int) -> None:
    sound = noise(2000, noise_amplitude)
    sound[12_000:36_000] += tone(1000, amplitude)
    span = voiced_span(sound, RATE_HZ)
    assert span is not None
    assert span[0] == pytest.approx(12_000, abs=30)
    assert span[1] == pytest.approx(36_000, abs=30)


@pytest.mark.parametrize("sound", [np.zeros(0, np.int16), np.zeros(9999, np.int16), noise(500, 20), tone(5)])
def test_no_voice_in_silence_quiet_noise_or_a_click(sound: Pcm) -> None:
    assert voiced_span(sound, RATE_HZ) is None


def test_a_click_before_the_voice_is_not_its_beginning() -> None:
    sound = np.concatenate((noise(300, 10), tone(10), noise(300, 10), tone(500), noise(300, 10)))
    span = voiced_span(sound, RATE_HZ)
    assert span is not None
    assert span[0] == pytest.approx(610 * 24, abs=30)


def test_a_pause_belongs_to_the_voice() -> None:
    sound = np.concatenate((tone(300), np.zeros(RATE_HZ, np.int16), tone(300)))
    assert voiced_span(sound, RATE_HZ) == (0, len(sound) - 1)


# --- both sides of a call


def test_what_was_never_written_is_silence() -> None:
    track = Track()
    track.write(100, tone(10))
    assert not track.read(0, 100).any()
    assert np.array_equal(track.read(100, 340), tone(10))
    assert track.read(0, 500).shape == (500,)


def test_a_forgotten_call_does_not_fill_the_memory() -> None:
    track = Track(limit_s=0.01)
    track.write(0, tone(1000))
    track.write(RATE_HZ, tone(1000))
    assert track.end == 240


def test_long_calls_grow() -> None:
    track = Track()
    track.write(200 * RATE_HZ, tone(10))
    assert np.array_equal(track.read(200 * RATE_HZ), tone(10))


def test_stereo_has_the_caller_left_and_is_as_long_as_the_longer_side() -> None:
    recording = Recording()
    recording.caller.write(0, tone(10))
    recording.agent.write(480, tone(20))
    stereo = recording.stereo()
    assert stereo.shape == (960, 2)
    assert np.array_equal(stereo[:240, 0], tone(10))
    assert np.array_equal(stereo[480:, 1], tone(20))


def test_audio_that_comes_early_waits_for_its_turn() -> None:
    track = Track()
    player = Player(track)
    assert player.receive(1000, "a", tone(100)) == 1000
    assert player.receive(1001, "a", tone(100)) == 1000 + 2400
    assert player.receive(9000, "b", tone(100)) == 9000  # it had run dry
    assert np.array_equal(track.read(1000, 1000 + 4800), np.concatenate((tone(100), tone(100))))
    assert not track.read(1000 + 4800, 9000).any()


def test_where_an_answer_ran_dry_is_known_and_where_one_follows_another_is_none() -> None:
    player = Player(Track())
    player.receive(1000, "a", tone(100))
    player.receive(1500, "a", tone(100))  # early
    player.receive(9000, "a", tone(100))
    player.receive(99_000, "b", tone(100))
    player.stop(99_100)
    player.receive(199_000, "b", tone(100))  # it was stopped, and did not run dry
    assert list(player.gaps) == [Gap("a", 9000, 9000 - 5800)]


def test_stopping_tells_how_much_of_each_item_was_heard() -> None:
    track = Track()
    player = Player(track)
    for item in ("whole", "half", "half", "none"):
        player.receive(0, item, tone(100))
    assert player.stop(2400 + 1200) == [Cut("half", 50), Cut("none", 0)]
    assert track.end == 3600
    assert player.ends_at == 3600
    assert player.stop(4000) == []


# --- files


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_number_of_channels_can_be_played(tmp_path: Path, rate_hz: int, channels: int) -> None:
    samples = np.arange(rate_hz)
    sound = (8000 * np.sin(2 * np.pi * 440 * samples / rate_hz)).astype(np.int16)
    write_wav(tmp_path / "new" / "a.wav", np.stack([sound] * channels, axis=1), rate_hz)
    pcm = read_speech(tmp_path / "new" / "a.wav")
    assert len(pcm) == RATE_HZ
    assert np.abs(np.fft.rfft(pcm.astype(float))).argmax() == 440
    assert np.abs(pcm).max() == pytest.approx(8000, rel=0.01)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_any_width_of_sample_can_be_played(tmp_path: Path, subtype: str) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", tone(100).astype(np.float32) / 32768, RATE_HZ, subtype=subtype)
    error = np.abs(read_speech(tmp_path / "a.wav").astype(int) - tone(100)).max()
    assert error <= (256 if subtype == "PCM_U8" else 1)


def test_flac_is_read(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.flac", tone(100), RATE_HZ)
    assert np.array_equal(read_speech(tmp_path / "a.flac"), tone(100))


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound at all, and some more text to fill a header with")
    write_wav(tmp_path / "empty.wav", np.zeros(0, np.int16))
    for name, why in (("gone.wav", "no such file"), ("text.wav", "not a sound file"), ("empty.wav", "no sound")):
        with pytest.raises(BadRecording, match=rf"{name}: .*{why}"):
            read_speech(tmp_path / name)
