"""The words of `antiphon call` about rooms: what goes together, what does not, and what was probably meant."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from loadtest.server import free_port
from loadtest.wav import write_wav
from serve_app.cli import main
from tests.scripted_server import tone


def complaint(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that a call ends with that was none."""
    assert main(["call", *words]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    return printed.err.removeprefix("antiphon: ").rstrip("\n")


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--livekit-url", "ws://x"], "--livekit-url and --token are one ticket: give both, or none"),
        (["--token", "t"], "--livekit-url and --token are one ticket: give both, or none"),
        (["--livekit-url", "ws://x", "--token", "t", "--room", "r"], "leave out the name of --room"),
        (["--livekit-url", "ws://x", "--token", "t", "--api-key", "k"], "leave out --api-key"),
        (["--api-key", "k"], "--api-key is for a ticket into a room: --room asks for one"),
        (["--room", "kitchen"], "kitchen is taken for a room, for there is no such file"),
        (["--room"], "there is nothing to say: name a recording, or use --text"),
        (["--room", "-"], "there is nothing to say: name a recording, or use --text"),
    ],
)
def test_what_does_not_go_together(words: Sequence[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = [] if "there is no" in line or "nothing" in line else ["--text", "hello"]
    assert complaint(capsys, *words, *text).endswith(line)


@pytest.mark.parametrize("others", [0, 1])
def test_a_file_after_room_is_a_recording(
    others: int, nobody: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It gets as far as asking for a ticket: all that is to be said is there."""
    files = [tmp_path / f"{number}.wav" for number in range(1 + others)]
    for file in files:
        write_wav(file, tone(0.1))
    said = complaint(capsys, "--room", *map(str, files), "--url", nobody)
    assert said == f"nothing answers at {nobody}: is `antiphon up` running?"


def test_every_one_of_them_must_be_a_recording(nobody: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.wav").write_text("no sound")
    assert "notes.wav" in complaint(capsys, "--room", str(tmp_path / "notes.wav"), "--url", nobody)


def test_a_ticket_of_ones_own_asks_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    where = f"ws://127.0.0.1:{free_port()}"
    words = ("--text", "hello", "--livekit-url", where, "--token", "t", "--url", "http://127.0.0.1:1")
    assert complaint(capsys, *words) == f"no LiveKit server answers at {where}"
