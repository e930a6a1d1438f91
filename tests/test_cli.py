"""The command line: quick, and one clear line for what a person can put right."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from serve_app.cli import COMMANDS, main


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert f"antiphon {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"antiphon {version('antiphon')}\n"


def test_help_does_not_wait_for_what_it_does_not_need() -> None:
    """Ray, pydantic and NumPy take a second to import."""
    program = (
        "import sys, contextlib, serve_app.cli as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--help'])\n"
        "print([name for name in ('ray', 'pydantic', 'numpy', 'httpx') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_a_wrong_setting_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTIPHON_ASR__MODLE", "x")
    Path("x.yaml").write_text("applications: [{name: antiphon, import_path: 'serve_app.app:build'}]\n")
    assert main(["check-config", "x.yaml"]) == 2
    assert capsys.readouterr().err == (
        "x.yaml: ANTIPHON_ASR__MODLE: unknown setting; did you mean ANTIPHON_ASR__MODEL?\n"
    )
