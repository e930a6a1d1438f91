"""Small programs in place of large ones: what a test wants of `go`, `pip` or `livekit-server`, as scripts."""

import stat
import sys
from pathlib import Path


def program(path: Path, text: str) -> Path:
    """A Python program that is called by its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


GO = """\
import os, pathlib, sys, time
if sys.argv[1] == "env":
    print({says!r})
    sys.exit()
pathlib.Path({seen!r}).write_text(repr((sys.argv[1:], dict(os.environ))))
time.sleep({slow_s})
if {complains!r}:
    sys.exit({complains!r})
for name in ("GOCACHE", "GOPATH", "GOTMPDIR"):
    pathlib.Path(os.environ[name], "left").mkdir(parents=True)
built = pathlib.Path(os.environ["GOBIN"], "server")
built.parent.mkdir()
built.write_text("built")
"""


def go(folder: Path, says: str = "go1.99.0", *, complains: str = "", slow_s: float = 0.0) -> Path:
    """A `go` in `folder`: it calls itself `says`; it builds a file, or complains. `folder/seen` tells how it was
    called."""
    return program(folder / "go", GO.format(says=says, complains=complains, slow_s=slow_s, seen=str(folder / "seen")))
