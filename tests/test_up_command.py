"""`antiphon up`: what it refuses before anything runs, each in one line that says what to change."""

import argparse
import logging
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from serve_app.cli import main
from serve_app.commands.telling import port_number
from serve_app.commands.up import Place, keep_conversations
from serve_app.ports import free_port
from serve_app.settings import Settings
from tests.system import launch

PATIENCE_S = 60.0
NOWHERE = {"LIVEKIT_URL": "", "LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}


def refused(folder: Path, *words: str, **variables: str) -> list[str]:
    """The lines that it ends with; its status is 2, and nothing of it runs on."""
    output = folder / "output"
    logged = () if "--log-file" in words else ("--log-file", str(folder / "log"))
    process = launch("up", "configs/demo.yaml", *words, *logged, output=output, **{**NOWHERE, **variables})
    try:
        status = process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE_S)
        raise
    said = output.read_text()
    assert status == 2, said
    assert "Traceback" not in said
    assert not [each.pid for each in psutil.process_iter(["cmdline"]) if str(folder) in (each.info["cmdline"] or ())]
    return said.splitlines()


@pytest.mark.parametrize(
    ("registry", "line"),
    [
        ({"url": "redis://:hush@here/0"}, "conversations are kept in redis://here/0, 300 s at most"),
        ({"url": "redis://:hush@here/0", "keep": False}, "conversations are not kept"),
    ],
)
def test_where_conversations_are_kept(
    registry: dict[str, Any], line: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "antiphon.up")
    with ExitStack() as ends:
        assert keep_conversations(Settings.model_validate({"registry": registry}), tmp_path, ends) == {}
    (record,) = caplog.records
    assert record.message.startswith(line)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "", "8000.0", "٣"])
def test_what_is_no_port(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--port", "--livekit-port"):
        with pytest.raises(SystemExit) as left:
            main(["up", f"{option}={text}"])
        assert left.value.code == 2
        assert f"argument {option}: expected a number from 1 to 65535, not {text!r}" in capsys.readouterr().err


def test_what_is_a_port() -> None:
    assert [port_number(text) for text in ("1", "8000", "65535")] == [1, 8000, 65535]
    with pytest.raises(argparse.ArgumentTypeError):
        port_number(" 8000 x")


@pytest.mark.parametrize(
    ("host", "at"),
    [
        ("127.0.0.1", "127.0.0.1:8000"),
        ("0.0.0.0", "127.0.0.1:8000"),
        ("::", "127.0.0.1:8000"),
        ("", "127.0.0.1:8000"),
        ("::1", "[::1]:8000"),
        ("example.org", "example.org:8000"),
    ],
)
def test_its_address_from_this_machine(host: str, at: str) -> None:
    assert Place(host, 8000, Path("log")).at == at


def test_a_taken_port_of_the_livekit_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "--port", str(free_port()), "--livekit-port", str(port))
    assert said == [f"antiphon: port {port} on 127.0.0.1 is in use: choose another one with --livekit-port"]


def test_one_port_for_both(tmp_path: Path) -> None:
    port = str(free_port())
    said = refused(tmp_path, "--port", port, "--livekit-port", port)
    assert said == [f"antiphon: port {port} cannot be both: choose another one with --livekit-port"]


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    [line] = refused(tmp_path, "--port", str(free_port()), "--log-file", str(tmp_path / "file" / "log"))
    assert line.startswith(f"antiphon: the log {tmp_path}/file")
    assert line.endswith("choose another one with --log-file")


@pytest.mark.parametrize("otherwise", ["--no-livekit", "LIVEKIT_URL"])
def test_a_port_for_a_livekit_server_that_is_not_started(otherwise: str, tmp_path: Path) -> None:
    variables = dict.fromkeys(NOWHERE, "wss://rooms.example.org") if otherwise == "LIVEKIT_URL" else {}
    options = [otherwise] if otherwise.startswith("--") else []
    said = refused(tmp_path, "--port", str(free_port()), "--livekit-port", str(free_port()), *options, **variables)
    assert said == ["antiphon: --livekit-port is for a LiveKit server of our own: none is started"]


def test_a_livekit_server_without_its_keys(tmp_path: Path) -> None:
    said = refused(tmp_path, "--port", str(free_port()), LIVEKIT_URL="wss://rooms.example.org")
    assert said == [
        f"configs/demo.yaml: applications[0].args.livekit.{name}: missing, and the LiveKit server in livekit.url wants "
        f"it; LIVEKIT_{name.upper()} in the environment or .env sets it"
        for name in ("api_key", "api_secret")
    ]


def test_without_rooms_nobody_asks_for_keys(tmp_path: Path) -> None:
    said = refused(
        tmp_path,
        "--port",
        str(free_port()),
        "--no-livekit",
        LIVEKIT_URL="wss://rooms.example.org",
        ANTIPHON_TTS__MODEL="no such voice",
    )
    assert len(said) == 1
    assert "args.tts.model" in said[0]


def test_a_config_that_is_too_large_for_this_machine(tmp_path: Path) -> None:
    said = refused(tmp_path, "--port", str(free_port()), ANTIPHON_LLM__CPUS="4096")
    assert len(said) == 1
    assert said[0].startswith("antiphon: too small for this config: llm: it reserves 4096 cores, and this machine has ")
