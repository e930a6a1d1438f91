import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serve_app.conversation.listening import (
    AudioMemory,
    Fact,
    Hearing,
    VoicePaused,
    VoiceResumed,
    VoiceStarted,
    Windows,
    milliseconds,
    samples,
)

W = 512


def hearing(next_sample: int = 0) -> Hearing:
    return Hearing(onset=0.5, release=0.35, onset_windows=2, pause_ms=64, window_samples=W, next_sample=next_sample)


def facts(ear: Hearing, *probabilities: float) -> list[Fact | None]:
    return [ear.push(probability) for probability in probabilities]


def test_speech_begins_with_the_first_of_two_voiced_windows() -> None:
    ear = hearing(next_sample=1000)
    assert facts(ear, 0.1, 0.9, 0.9) == [None, None, VoiceStarted(1000 + W)]
    assert ear.voiced_ms == 64


def test_one_loud_window_is_a_click() -> None:
    assert facts(hearing(), 0.9, 0.1, 0.9, 0.1, 0.9) == [None] * 5


def test_voice_does_not_flutter_between_the_thresholds() -> None:
    ear = hearing()
    facts(ear, 0.9, 0.9)
    assert facts(ear, *[0.4] * 10) == [None] * 10
    assert not ear.paused
    assert facts(hearing(), *[0.4] * 10) == [None] * 10  # but it does not begin so


def test_a_pause_comes_once_and_says_when_the_voice_ended() -> None:
    ear = hearing()
    facts(ear, 0.9, 0.9, 0.9)
    assert facts(ear, 0.1, 0.1, 0.1) == [None, VoicePaused(3 * W), None]
    assert ear.paused
    assert ear.silence_ms == 96
    assert ear.voiced_ms == 96


def test_a_faint_end_is_noticed_before_the_detector_lets_go() -> None:
    ear = hearing()
    for level_db in (-50.0, -20.0, -22.0, -49.0, -51.0, -60.0):
        ear.push(0.9, level_db)
    assert (ear.faint_ms, ear.silence_ms) == (64, 0), "30 dB below the loudest, which fades by a tenth a window"
    ear.push(0.9, -30.0)
    assert ear.faint_ms == 0
    ear.push(0.1, -20.0)
    assert (ear.faint_ms, ear.silence_ms) == (32, 32), "noise that is no voice"


def test_who_turns_away_is_not_faint_for_long() -> None:
    ear = hearing()
    for level_db in (-10.0, -10.0, *[-45.0] * 60):
        ear.push(0.9, level_db)
    assert ear.faint_ms == 0


def test_voice_resumes_like_it_began_and_a_click_does_not_end_the_pause() -> None:
    ear = hearing()
    facts(ear, 0.9, 0.9, 0.1, 0.1)
    assert facts(ear, 0.9, 0.1, 0.9, 0.9) == [None, None, None, VoiceResumed(6 * W)]
    assert ear.silence_ms == 0
    assert facts(ear, 0.1, 0.1) == [None, VoicePaused(8 * W)]


def test_after_the_end_of_speech_voice_is_a_new_start() -> None:
    ear = hearing()
    facts(ear, 0.9, 0.9, 0.9)
    ear.end_of_speech()
    assert facts(ear, 0.9, 0.9) == [None, VoiceStarted(3 * W)]


@given(st.lists(st.floats(0, 1), max_size=80), st.sets(st.integers(0, 80)))
def test_facts_alternate_whatever_is_heard(probabilities: list[float], ends: set[int]) -> None:
    ear, before = hearing(), None
    for n, probability in enumerate(probabilities):
        if n in ends:
            ear.end_of_speech()
            before = None
        fact = ear.push(probability)
        if fact is None:
            continue
        allowed = {None: VoiceStarted, VoiceStarted: VoicePaused, VoicePaused: VoiceResumed, VoiceResumed: VoicePaused}
        assert type(fact) is allowed[before]
        before = type(fact)
        assert ear.paused == isinstance(fact, VoicePaused)
        assert ear.next_sample == (n + 1) * W


@given(st.integers(0, 10**6))
def test_milliseconds_and_samples(ms: int) -> None:
    assert milliseconds(samples(ms)) == ms


@given(st.lists(st.integers(1, 9000), max_size=30), st.integers(1, 40_000), st.tuples(*[st.integers(-100, 90_000)] * 2))
def test_the_memory_keeps_the_latest_audio_at_its_place(
    lengths: list[int], limit: int, wanted: tuple[int, int]
) -> None:
    memory, everything = AudioMemory(limit), np.arange(sum(lengths)).astype(np.int16)
    for end, length in zip(np.cumsum(lengths), lengths, strict=True):
        memory.push(everything[end - length : end])
    assert memory.next_sample == len(everything)
    assert memory.next_sample - memory.first_sample == min(limit, len(everything))
    first, end = sorted(wanted)
    known = everything[max(first, memory.first_sample) : max(end, 0)]
    np.testing.assert_array_equal(memory.between(first, end), known)


@given(st.lists(st.integers(0, 2000), max_size=12))
def test_windows_hold_every_sample_once(lengths: list[int]) -> None:
    sound = np.random.default_rng(1).integers(-32768, 32767, sum(lengths)).astype(np.int16)
    windows = Windows(W)
    cut = [w for part in np.split(sound, np.cumsum(lengths)) for w in windows.push(part)]
    assert len(cut) == len(sound) // W
    whole = np.concatenate([np.zeros(0, np.float32), *cut])
    np.testing.assert_array_equal(whole * 32768, sound[: len(whole)])
