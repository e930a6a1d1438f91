"""The sentences that a benchmark speaks: recordings of people where there are some, else the config's own voice."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from loadtest.wire import CallFailed

RECORDINGS = Path(os.environ.get("ANTIPHON_SPEECH", "../shared/speech"))
TEXTS = (  # Harvard sentences (IEEE 1969), list 1, and two questions
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "What is the capital of France?",
    "Can you tell me what you had for breakfast?",
)


def sentences(folder: Path | None, config: Path) -> list[Path]:
    """WAV files, one sentence each. Raises CallFailed where there are none and none can be made."""
    if folder is not None:
        found = sorted(folder.glob("*.wav"))
        if not found:
            raise CallFailed(f"{folder}: there are no WAV files in it")
        return found
    return sorted(RECORDINGS.glob("spk*.wav")) or [_said(text, config) for text in TEXTS]


def _said(text: str, config: Path) -> Path:
    """Made once and kept; another config may have another voice."""
    key = hashlib.sha256(f"{text}\n{config.read_bytes()!r}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "antiphon" / "speech" / f"{key}.wav"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        command = [sys.executable, "-m", "deployments.say", text, str(part), "--config", str(config)]
        if subprocess.run(command, check=False).returncode:
            raise CallFailed("there are no recordings and no speech could be made; the line above says why")
        part.replace(path)
    return path
