"""Callers that decode nothing: what they say is Opus, and what they count is what came."""

import asyncio
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from loadtest import light_callers
from loadtest.light_callers import GO, SILENT_BYTES, encoded, obtain
from loadtest.light_callers import light_callers as calling
from loadtest.room_bare import BareAgent
from loadtest.room_sound import ROOM_RATE_HZ
from loadtest.room_ticket import Keys, fresh
from loadtest.voiced import Pcm, voiced_span
from loadtest.wav import write_wav
from loadtest.wire import CallFailed

PATIENCE_S = 30.0


def tone(length_s: float, before_s: float = 0.0, after_s: float = 0.0) -> Pcm:
    """At 48 kHz, between silences."""
    times = np.arange(round(length_s * ROOM_RATE_HZ)) / ROOM_RATE_HZ
    sound = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    silences = [np.zeros(round(part * ROOM_RATE_HZ), np.int16) for part in (before_s, after_s)]
    return np.concatenate((silences[0], sound, silences[1]))


def packets(file: Path) -> list[bytes]:
    content, found = file.read_bytes(), []
    while content:
        length = int.from_bytes(content[:2], "little")
        found.append(content[2 : 2 + length])
        content = content[2 + length :]
    return found


def test_what_they_say_can_be_decoded_and_its_end_is_known(tmp_path: Path) -> None:
    said = encoded(tone(0.5, before_s=0.2, after_s=0.3), tmp_path / "said.opus")
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = ROOM_RATE_HZ, "mono"
    frames = [frame for each in packets(tmp_path / "said.opus") for frame in decoder.decode(av.Packet(each))]
    pcm = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16)
    span = voiced_span(pcm, ROOM_RATE_HZ)
    assert span is not None
    assert said["voiced_ms"] == pytest.approx(1000 * span[1] / ROOM_RATE_HZ, abs=15)


def test_silence_makes_packets_that_are_not_sent(tmp_path: Path) -> None:
    encoded(tone(0.3, after_s=2.0), tmp_path / "said.opus")
    sizes = [len(each) for each in packets(tmp_path / "said.opus")]
    assert sum(size <= SILENT_BYTES for size in sizes[-50:]) > 40
    assert min(sizes[1:14]) > SILENT_BYTES


def test_silence_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CallFailed, match="no voice"):
        encoded(np.zeros(ROOM_RATE_HZ, np.int16), tmp_path / "said.opus")


def test_without_go_it_is_said_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(light_callers, "GO", ())
    with pytest.raises(CallFailed, match=r"built with Go, which is not here.*without --light"):
        obtain()


def test_what_go_complains_of_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho 'go.mod requires go >= 1.99' >&2\nexit 1\n")
    go.chmod(0o755)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(light_callers, "GO", (str(go),))
    with pytest.raises(CallFailed, match=r"could not be built: go\.mod requires go >= 1\.99$"):
        obtain()


@pytest.fixture(scope="module")
def program() -> Path:
    """Built where it was not built before."""
    if not any(map(shutil.which, GO)):
        pytest.skip("there is no Go here")
    return obtain()


async def test_turns_are_answered_and_counted_and_callers_leave(
    livekit_keys: Keys, program: Path, tmp_path: Path
) -> None:
    write_wav(tmp_path / "tone.wav", tone(0.4), ROOM_RATE_HZ)
    rooms = [fresh("room") for _ in range(2)]
    gone = asyncio.Event()
    async with (
        BareAgent().run(livekit_keys.agent_ticket(rooms[0])) as agent,
        BareAgent().run(livekit_keys.agent_ticket(rooms[1])),
    ):
        agent.room.on("participant_disconnected", lambda participant: gone.set())
        tickets = [livekit_keys.ticket(room) for room in rooms]
        async with calling(program, tickets, [tmp_path / "tone.wav"], 2) as callers:
            assert len((await callers.joined())["joining"]) == 2
            await callers.go()
            report = await asyncio.wait_for(callers.finished(), PATIENCE_S)
        await asyncio.wait_for(gone.wait(), PATIENCE_S)
    assert [[turn["heard"] for turn in turns] for turns in report["turns"]] == [["a tone"] * 2] * 2
    assert all(0 < turn["voice_to_voice_ms"] < 10_000 for turns in report["turns"] for turn in turns)
    for sound in report["sound"]:
        assert sound["packets"] == len(sound["late_ms"]) == len(sound["step_ms"]) > 100
        assert sound["lost"] == 0


async def test_a_ticket_that_is_refused_is_an_error(livekit_keys: Keys, program: Path, tmp_path: Path) -> None:
    write_wav(tmp_path / "tone.wav", tone(0.4), ROOM_RATE_HZ)
    bad = livekit_keys.ticket(fresh("room"))
    async with calling(program, [type(bad)(bad.url, "garbage")], [tmp_path / "tone.wav"], 1) as callers:
        with pytest.raises(CallFailed, match=r"(?i)unauthorized|token"):
            await callers.joined()
