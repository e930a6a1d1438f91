"""The sentences that a benchmark speaks: recordings of people where there are some, else the config's own voice."""

import csv
import functools
import hashlib
import json
import os
from pathlib import Path

from loadtest.programs import run_module
from loadtest.wire import CallFailed

SPEECH_VARIABLE = "SPEECH_RECORDINGS"
"""Names a folder of recordings, one WAV a sentence."""

CHECK_TIMEOUT_S = 120.0
SAY_TIMEOUT_S = 900.0  # the first sentence may download the voice
TEXTS = (  # Harvard sentences (IEEE 1969), list 1, and two questions
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "What is the capital of France?",
    "Can you tell me what you had for breakfast?",
)


def recordings_folder() -> Path:
    """SPEECH_RECORDINGS, else `../shared/speech` beside the repository, or beside the working directory where this is
    installed without one. The folder need not exist."""
    repository = Path(__file__).resolve().parents[1]
    base = repository if (repository / "pyproject.toml").is_file() else Path.cwd()
    return Path(os.environ.get(SPEECH_VARIABLE) or base.parent / "shared" / "speech")


RECORDINGS = recordings_folder()


def sentences(folder: Path | None, config: Path) -> list[Path]:
    """WAV files, one sentence each. Raises CallFailed where there are none and none can be made.

    A synthetic ASR hears only tones: then they are said by the config's own voice, though there are recordings.
    """
    if folder is not None:
        found = sorted(folder.glob("*.wav"))
        if not found:
            raise CallFailed(f"{folder}: there are no WAV files in it")
        return found
    settings = resolved_settings(config)
    people = [] if hears_only_tones(settings) else sorted(RECORDINGS.glob("spk*.wav"))
    return people or [said(text, settings) for text in TEXTS]


def texts(folder: Path | None, settings: str) -> dict[Path, str]:
    """Sound file -> what is said in it, where that is known: by the folder's `transcripts.tsv` (file, text), and of
    one's own sentences."""
    known = {said_path(text, settings): text for text in TEXTS}
    table = (folder or RECORDINGS) / "transcripts.tsv"
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as lines:
            known |= {table.parent / row["file"]: row["text"] for row in csv.DictReader(lines, delimiter="\t")}
    return known


def hears_only_tones(settings: str) -> bool:
    """Does a server with these settings (`resolved_settings`) not know what a person's words are?"""
    return bool(json.loads(settings)["asr"]["engine"] == "synthetic")


@functools.cache
def resolved_settings(config: Path) -> str:
    """The settings that a server with this config runs, with `${VAR}`, `.env` and the environment applied: a JSON
    object. Raises CallFailed."""
    return run_module("serve_app.cli", "check-config", str(config), "--json", timeout_s=CHECK_TIMEOUT_S)


def said(text: str, settings: str) -> Path:
    """A WAV file of these words in the voice of these settings (`resolved_settings`). Made once and kept; another voice
    says it anew. Raises CallFailed."""
    path = said_path(text, settings)
    if not path.exists():
        print(f"speaking for the first time: {text}", flush=True)  # it takes seconds
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}.part")
        words = (text, str(part), "--settings", "-")
        run_module("deployments.say", *words, timeout_s=SAY_TIMEOUT_S, given=settings)
        part.replace(path)
    return path


def said_path(text: str, settings: str) -> Path:
    """Where `said` keeps it."""
    voice = json.dumps([json.loads(settings)[section] for section in ("tts", "models")], sort_keys=True)
    key = hashlib.sha256(f"{text}\n{voice}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "antiphon" / "speech" / f"{key}.wav"
