import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from livekit import rtc
from livekit.rtc._ffi_client import FfiHandle

from deployments.audio import Resampler, frame_samples
from deployments.contracts import SPEECH_RATE_HZ, Pcm
from loadtest.room_ticket import Keys, fresh
from serve_app.transports.livekit_audio import (
    HEARD_MS,
    MOST_BEHIND,
    QUIET_S,
    Cleaner,
    Metronome,
    Microphone,
)
from serve_app.transports.livekit_ffi import let_go_late
from serve_app.transports.livekit_speaker import FRAME_S, LEAD_S, ROOM_RATE_HZ, Speaker
from tests.agents_kit import caller, ended, until

pytestmark = pytest.mark.timeout(60)

FRAME = frame_samples(ROOM_RATE_HZ)
HEARD = frame_samples(SPEECH_RATE_HZ)


# --- the clock


@asynccontextmanager
async def beating(metronome: Metronome) -> AsyncIterator[None]:
    task = asyncio.create_task(metronome.run())
    try:
        yield
    finally:
        assert not task.done()
        await ended(task)


async def test_strokes_keep_their_pace_through_a_stall() -> None:
    metronome, strokes = Metronome(), list[float]()
    metronome.add("one", lambda: strokes.append(time.monotonic()))
    async with beating(metronome):
        began = time.monotonic()
        await until(lambda: len(strokes) >= 10, "strokes")
        time.sleep(0.9 * MOST_BEHIND * FRAME_S)  # noqa: ASYNC251  the process stands still
        await until(lambda: len(strokes) >= 30, "strokes")
        passed_s = strokes[29] - began
    assert passed_s >= 30 * FRAME_S - 0.002  # never ahead of the clock
    # The strokes missed in the stall have been made up for: the last ones stand on the grid of the first.
    late_s = [at - began - FRAME_S * (number + 1) for number, at in enumerate(strokes[:30])]
    assert min(late_s[20:]) < min(late_s[:10]) + FRAME_S / 2


async def test_what_is_too_old_is_not_made_up_for() -> None:
    metronome, strokes = Metronome(), list[float]()
    metronome.add("one", lambda: strokes.append(time.monotonic()))
    async with beating(metronome):
        await until(lambda: len(strokes) >= 3, "strokes")
        time.sleep(20 * FRAME_S)  # noqa: ASYNC251  the process stands still
        back, before = time.monotonic(), len(strokes)
        await until(lambda: len(strokes) >= before + MOST_BEHIND + 3, "strokes")
    burst = [at for at in strokes[before:] if at < back + FRAME_S / 2]
    assert len(burst) <= MOST_BEHIND + 2  # and the one that was due


async def test_it_rests_while_nobody_listens_and_begins_again() -> None:
    metronome, strokes = Metronome(), list[str]()
    async with beating(metronome):
        metronome.add("one", lambda: strokes.append("one"))
        metronome.add("two", lambda: strokes.append("two"))
        await until(lambda: {"one", "two"} <= set(strokes), "both")
        metronome.remove("one")
        metronome.remove("two")
        metronome.remove("two")
        strokes.clear()
        await asyncio.sleep(5 * FRAME_S)
        assert not strokes
        metronome.add("three", lambda: strokes.append("three"))
        await until(lambda: strokes.count("three") >= 3, "the third")


async def test_one_call_that_breaks_does_not_silence_the_others(caplog: pytest.LogCaptureFixture) -> None:
    metronome, strokes = Metronome(), list[str]()

    def broken() -> None:
        strokes.append("broken")
        raise RuntimeError("no more sound")

    async with beating(metronome):
        metronome.add("one", broken)
        metronome.add("two", lambda: strokes.append("two"))
        await until(lambda: strokes.count("two") >= 3, "the other's strokes")
    assert strokes.count("broken") == 1
    assert "the sound of a call broke" in caplog.text


# --- the agent's track


class Playing:
    """A speaker that notes what it plays. The queue empties as real time passes."""

    def __init__(self) -> None:
        self.speaker = Speaker()
        self.played: list[Pcm | None] = []
        self.waiting: list[Pcm | None] = []
        self.speaker.on_frame = self.played.append
        self.speaker.next_frame = lambda: self.waiting.pop(0) if self.waiting else None


@asynccontextmanager
async def playing() -> AsyncIterator[Playing]:
    it = Playing()
    try:
        yield it
    finally:
        await it.speaker.close()


ONE, TWO, THREE = (np.full(FRAME, value, np.int16) for value in (1, 2, 3))


async def test_the_speaker_is_never_far_ahead() -> None:
    async with playing() as it:
        it.waiting += [np.full(FRAME, value, np.int16) for value in range(40)]
        began_s = time.monotonic()
        for _ in range(5):  # nothing but time that passes adds to two frames
            it.speaker.strike()
        given = len(it.played)
        assert 2 <= given < 1 + (time.monotonic() - began_s + LEAD_S) / FRAME_S
        time.sleep(5 * FRAME_S)  # noqa: ASYNC251  it has run dry
        it.speaker.strike()
        assert [frame[0] for frame in it.played if frame is not None] == list(range(given + 2))


async def test_the_speaker_knows_how_long_it_was_silent_before_the_frame_that_it_asks_for() -> None:
    async with playing() as it:
        silent_s: list[float] = []
        it.speaker.on_frame = lambda _: silent_s.append(it.speaker.silence_s)
        it.waiting += [ONE, TWO]
        it.speaker.strike()
        ran_out_s = it.speaker._queued_until_s
        time.sleep(4 * FRAME_S)  # noqa: ASYNC251
        it.waiting += [THREE, ONE]
        before_s = time.monotonic()
        it.speaker.strike()
        assert before_s - ran_out_s <= silent_s[2] <= time.monotonic() - ran_out_s
        assert (silent_s[1], silent_s[3]) == (0, 0)  # each follows the one before


async def test_between_answers_it_plays_a_frame_of_silence_a_stroke_without_writing_it() -> None:
    async with playing() as it:
        for _ in range(3):
            it.speaker.strike()
        assert it.played == [None] * 3
        assert not it.speaker._writer._places
        it.waiting += [ONE, TWO, THREE]
        it.speaker.strike()
        assert it.played == [None, None, None, ONE, TWO]
        assert 0 < it.speaker.queued_samples() <= 2 * FRAME


async def test_the_next_piece_of_an_answer_may_come_a_little_later() -> None:
    async with playing() as it:
        it.waiting += [ONE]
        it.speaker.strike()
        assert it.played == [ONE]  # no silence in the middle of it
        it.waiting += [TWO]
        it.speaker.strike()
        assert it.played == [ONE, TWO]


async def test_what_was_not_sent_is_taken_back() -> None:
    async with playing() as it:
        it.waiting += [ONE, TWO, THREE]
        before_s = time.monotonic()
        it.speaker.strike()
        unsent = it.speaker.take_back()
        passed_s = time.monotonic() - before_s
        assert unsent <= 2 * FRAME
        assert unsent >= 2 * FRAME - round((passed_s + 0.01) * ROOM_RATE_HZ)
        assert it.speaker.queued_samples() == 0
        assert it.speaker.take_back() == 0
        assert it.played == [ONE, TWO]


async def test_what_comes_as_it_sounds_goes_out_as_it_comes() -> None:
    async with playing() as it:
        it.waiting += [ONE]
        it.speaker.pass_on(TWO, loud=True)
        it.speaker.strike()  # its clock is the one of what comes
        it.speaker.pass_on(THREE[:480], loud=True)
        assert it.played == []
        assert FRAME < it.speaker.queued_samples() <= FRAME + 480
        assert it.waiting == [ONE]


async def test_one_hears_what_the_speaker_plays(livekit_keys: Keys) -> None:
    """A second of tone through a real room: no frame of it is missing."""
    room = fresh("room")
    speaker, metronome = Speaker(), Metronome()
    samples = np.arange(FRAME)
    tone = (8000 * np.sin(2 * np.pi * 450 * samples / ROOM_RATE_HZ)).astype(np.int16)
    left = [50]

    def frame() -> Pcm | None:
        left[0] -= 1
        return tone if left[0] >= 0 else None

    heard: list[Pcm] = []
    microphone = Microphone(heard.append)
    async with caller(livekit_keys, room) as there, caller(livekit_keys, room) as here:
        here.on("track_published", lambda publication, _: publication.set_subscribed(True))
        tracks: asyncio.Queue[rtc.Track] = asyncio.Queue()
        here.on("track_subscribed", lambda track, publication, participant: tracks.put_nowait(track))
        metronome.add("speaker", speaker.strike)
        async with beating(metronome):
            await there.local_participant.publish_track(speaker.track)
            await microphone.listen(await asyncio.wait_for(tracks.get(), 20))
            await until(lambda: len(heard) > 10, "silence from the track")
            speaker.next_frame = frame

            def loud() -> int:
                return sum(bool(np.abs(pcm).max() > 2000) for pcm in heard)

            await until(lambda: loud() >= 30, "a second of tone")
            assert {len(pcm) for pcm in heard} == {SPEECH_RATE_HZ * HEARD_MS // 1000}
            await microphone.unlisten()
            await microphone.unlisten()
        await there.disconnect()
        await speaker.close()  # before the room is forgotten: the native side does not survive the other order


# --- the caller's sound


async def test_where_nothing_comes_there_is_silence() -> None:
    heard: list[Pcm] = []
    microphone = Microphone(heard.append)
    microphone.strike()
    assert heard == []  # it may still come
    await asyncio.sleep(QUIET_S + 0.01)
    for _ in range(3):
        microphone.strike()
    assert len(heard) == 3
    assert all(len(pcm) == HEARD and not pcm.any() for pcm in heard)


# --- echo


def talk(seconds: float, seed: int) -> Pcm:
    """Something like a voice: a buzz of changing pitch in syllables, with breath. int16[n] at 48 kHz."""
    at = np.arange(round(seconds * ROOM_RATE_HZ)) / ROOM_RATE_HZ
    rng = np.random.default_rng(seed)
    syllables = (np.sin(2 * np.pi * 3 * at + seed) > -0.3) * (0.5 + 0.5 * np.sin(2 * np.pi * 1.3 * at) ** 2)
    phase = 2 * np.pi * np.cumsum(140 + 20 * seed + 30 * np.sin(2 * np.pi * 0.7 * at)) / ROOM_RATE_HZ
    buzz = sum(np.sin(k * phase) / k for k in range(1, 24)) + 0.15 * rng.standard_normal(len(at))
    voiced = np.asarray(buzz * syllables)
    pcm: Pcm = (voiced / np.abs(voiced).max() * 12_000).astype(np.int16)
    return pcm


def heard_by_phone(pcm: Pcm, delay_ms: int) -> Pcm:
    """Later and at 16 kHz."""
    later = np.concatenate([np.zeros(delay_ms * ROOM_RATE_HZ // 1000, np.int16), pcm])[: len(pcm)]
    return Resampler(ROOM_RATE_HZ, SPEECH_RATE_HZ).push(later, last=True)


def cleaned(played: Pcm, heard: Pcm) -> Pcm:
    cleaner, parts = Cleaner(), []
    for number in range(min(len(played) // FRAME, len(heard) // HEARD)):
        cleaner.played(played[number * FRAME : (number + 1) * FRAME])
        parts.append(cleaner.heard(heard[number * HEARD : (number + 1) * HEARD]))
    return np.concatenate(parts)


def level_db(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm.astype(np.float64) ** 2) + 1e-9))


AFTER_S = 2
"""The canceller has learned the way of the echo."""


@pytest.mark.parametrize("delay_ms", [40, 100, 200])
def test_the_agent_s_own_echo_is_taken_out(delay_ms: int) -> None:
    """Nobody tells the canceller the delay: it finds out."""
    played = talk(4.0, seed=1)
    echo = (heard_by_phone(played, delay_ms) * 0.3).astype(np.int16)
    left = cleaned(played, echo)
    after = slice(AFTER_S * SPEECH_RATE_HZ, len(left))
    assert level_db(left[after]) <= level_db(echo[after]) - 10


def test_the_caller_s_own_voice_stays() -> None:
    voice = heard_by_phone(talk(4.0, seed=2), 0)
    left = cleaned(np.zeros(4 * ROOM_RATE_HZ, np.int16), voice)
    after = slice(AFTER_S * SPEECH_RATE_HZ, len(left))
    assert level_db(left[after]) >= level_db(voice[after]) - 3


def test_what_is_not_played_is_no_echo() -> None:
    """A cleaner that took out everything would pass the test of echoes."""
    played, voice = talk(4.0, seed=1), heard_by_phone(talk(4.0, seed=2), 0)
    echo = (heard_by_phone(played, 100) * 0.1).astype(np.int16)
    both = (voice.astype(np.int32) + echo).clip(-32768, 32767).astype(np.int16)
    left = cleaned(played, both)
    after = slice(AFTER_S * SPEECH_RATE_HZ, len(left))
    assert level_db(left[after]) >= level_db(voice[after]) - 10


def test_frames_keep_their_length_and_silence_may_be_played() -> None:
    cleaner = Cleaner()
    cleaner.played(None)
    assert len(cleaner.heard(np.zeros(HEARD, np.int16))) == HEARD


# --- what the native side has let go of


async def test_a_track_that_was_let_go_of_natively_may_be_let_go_of_again() -> None:
    let_go_late()
    track = rtc.LocalAudioTrack.create_audio_track("agent", rtc.AudioSource(ROOM_RATE_HZ, 1))
    FfiHandle(track._ffi_handle.handle).dispose()
    track._ffi_handle.dispose()
    assert track._ffi_handle.disposed
