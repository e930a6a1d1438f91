"""What `antiphon up` tells the person, and its log."""

import argparse
import logging
import sys
from pathlib import Path


def log_file(asked: Path | None, port: int) -> Path:
    """The log of this run, empty. Ours go into it as well: what was chosen and where it came from."""
    from serve_app.supervisor import cache_folder

    log = asked or cache_folder() / "log" / f"{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    to_file = logging.FileHandler(log, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    ours = logging.getLogger("antiphon")
    ours.setLevel(logging.INFO)
    ours.addHandler(to_file)
    if not sys.stderr.isatty():
        # On a terminal models have bars; without one their lines stand with ours.
        ours.addHandler(logging.StreamHandler(sys.stdout))
    return log


def say(line: str, *, quiet: bool = False) -> None:
    """To the person, and into the log. `quiet`: on a terminal only into the log."""
    logging.getLogger("antiphon.up").info("%s", line)
    if sys.stderr.isatty() and not quiet:
        print(line, flush=True)


def port_number(text: str) -> int:
    """For argparse."""
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 65535, not {text!r}")
    return int(text)


def refuse_line(line: str) -> int:
    print("\n".join(f"antiphon: {part}" for part in line.splitlines()), file=sys.stderr, flush=True)
    return 2
