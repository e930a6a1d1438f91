"""`antiphon call` and `antiphon talk` as a person runs them, against a scripted server."""

import asyncio
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from loadtest.server import free_port
from loadtest.voiced import Pcm
from loadtest.wav import read_speech, write_wav
from serve_app.commands.sound import Fifo, NoSound, SoundCard
from tests.scripted_server import ScriptedServer, tone


async def antiphon(*words: str, typed: str = "") -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    pipe = asyncio.subprocess.PIPE
    program = [sys.executable, "-m", "serve_app.cli", *words]
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(typed.encode()), 60)
    return int(process.returncode or 0), out.decode(), err.decode()


def stereo(path: Path) -> tuple[Pcm, Pcm]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 24_000)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1]


async def test_a_call_prints_both_sides_and_saves_them(tmp_path: Path) -> None:
    write_wav(tmp_path / "question.wav", tone(0.3, 300))
    saved = tmp_path / "both.wav"
    async with ScriptedServer().run() as server:
        words = ("call", str(tmp_path / "question.wav"), "--text", "hello", "--url", server.url, "--save", str(saved))
        code, out, err = await antiphon(*words, "--instructions", "be kind", "--voice", "joe")
    assert code == 0, err
    assert "caller   a tone" in out
    assert "caller   typed" in out
    assert "turn 0 answered" in out
    assert "turn 1 answered" in out
    assert "heard    the answer's first sound" in out
    session = next(event["session"] for event in server.received if event["type"] == "session.update")
    assert session["instructions"] == "be kind"
    assert session["audio"]["output"]["voice"] == "joe"
    left, right = stereo(saved)
    first = np.flatnonzero(left)[0]
    question = np.trim_zeros(read_speech(tmp_path / "question.wav"))
    assert np.array_equal(left[first : first + len(question)], question)
    assert (right != 0).sum() == 2 * (tone(0.4) != 0).sum()


async def test_a_failed_turn_is_exit_code_1(tmp_path: Path) -> None:
    write_wav(tmp_path / "question.wav", tone(0.2))
    async with ScriptedServer(status="failed").run() as server:
        code, _, err = await antiphon("call", str(tmp_path / "question.wav"), "--url", server.url)
    assert code == 1
    assert "the answer is failed: model_failed" in err


async def test_no_answer_is_exit_code_1_and_still_saves(tmp_path: Path) -> None:
    write_wav(tmp_path / "silence.wav", np.zeros(4800, np.int16))
    saved = tmp_path / "both.wav"
    async with ScriptedServer().run() as server:
        words = ("call", str(tmp_path / "silence.wav"), "--url", server.url, "--timeout", "0.3", "--save", str(saved))
        code, _, err = await antiphon(*words)
    assert code == 1
    assert "no complete answer within 0.3 s" in err
    assert len(stereo(saved)[0]) >= 4800


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "there is nothing to say"),
        (("gone.wav",), "gone.wav: no such file"),
        (("--text", "hello", "--url", "nonsense:///"), "no address of a server"),
    ],
)
async def test_bad_input_is_exit_code_2_in_one_line(words: tuple[str, ...], complaint: str) -> None:
    code, out, err = await antiphon("call", *words)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


async def test_without_a_server_there_is_a_hint() -> None:
    code, _, err = await antiphon("call", "--text", "hello", "--url", f"http://127.0.0.1:{free_port()}")
    assert code == 2
    assert "nothing answers at" in err
    assert "is `antiphon up` running?" in err


async def test_typed_lines_are_answered_without_sound(tmp_path: Path) -> None:
    saved = tmp_path / "both.wav"
    async with ScriptedServer().run() as server:
        words = ("talk", "--no-sound", "--url", server.url, "--save", str(saved))
        code, out, err = await antiphon(*words, typed="hello\n\nhow are you")
    assert code == 0, err
    assert out.count("caller   typed") == 2
    assert (stereo(saved)[1] != 0).sum() == 2 * (tone(0.4) != 0).sum()
    texts = [event["item"]["content"][0]["text"] for event in server.received if "item" in event]
    assert texts == ["hello", "how are you"]


class Leaving(ScriptedServer):
    """It ends the call with its first answer."""

    async def _answer(self, heard: str) -> None:
        await super()._answer(heard)
        await self._socket.close(1000, "goodbye")


async def test_a_talk_that_the_agent_ends_is_no_failure() -> None:
    async with Leaving().run() as server:
        code, out, err = await antiphon("talk", "--no-sound", "--url", server.url, typed="hello\nand\nthen")
    assert (code, err) == (0, "")
    assert out.endswith("the agent ended the call: goodbye\n")


# --- what `antiphon talk` says where there is no sound


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("raise ImportError", r"pip install 'antiphon\[talk\]'"),
        ("raise OSError('PortAudio library not found')", "apt install libportaudio2"),
    ],
)
def test_what_is_missing_is_named(fault: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sounddevice.py").write_text(fault)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(NoSound, match=advice), SoundCard():
        pass


def test_a_microphone_that_lags_drops_the_oldest_sound() -> None:
    fifo = Fifo(0.001, drop_oldest=True)
    fifo.push(np.arange(100, dtype=np.int16))
    assert fifo.take(30).tolist() == [*range(76, 100), 0, 0, 0, 0, 0, 0]


def test_a_full_speaker_drops_the_newest_and_stops_at_once() -> None:
    fifo = Fifo(0.001, drop_oldest=False)
    fifo.push(np.arange(1, 100, dtype=np.int16))
    assert fifo.take(2).tolist() == [1, 2]
    fifo.clear()
    assert not fifo.take(24).any()
