"""What the models of the config do alone, after the calls: the floor, plain Whisper's words, a voice's own pauses.

Each in a process of its own, on the machine that the calls were made from. Where one cannot be had, its rows stay empty
and a line says why.
"""

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from loadtest.facts import Asked, Boundary, Count, Facts
from loadtest.overhead import waited_ms
from loadtest.phrases import add_phrase
from loadtest.programs import run_module
from loadtest.recording import RATE_HZ
from loadtest.speech import said
from loadtest.statistics import word_errors
from loadtest.take import Take
from loadtest.voice_to_voice import models_alone
from loadtest.voiced import Pcm, voiced_span
from loadtest.wav import read_speech, write_wav
from loadtest.wire import CallFailed

Judged = Sequence[tuple[Take, Facts]]

Transcribe = Callable[[Sequence[Path]], dict[Path, str]]
"""Sound files -> the words in each; a file that fails is left out. May raise CallFailed."""

EDGE_MS = 200
"""Of silence that `deployments.say` puts on both sides."""

A_SIGN = 3
"""Phrases with the same sign at their end that are said anew to know the pause after it."""

WHISPER_S = 600.0


@dataclass(frozen=True, slots=True)
class Alone:
    """`settings`: of the server that was called (`resolved_settings`). `way_ms`: there and back, where it is known."""

    settings: str
    way_ms: float | None = None

    @property
    def hears_words(self) -> bool:
        """Is there a Whisper to compare with?"""
        return bool(json.loads(self.settings)["asr"]["engine"] == "faster_whisper")

    def plain_whisper(self, files: Sequence[Path]) -> dict[Path, str]:
        """A `Transcribe`, by the Whisper of the settings."""
        asr = json.loads(self.settings)["asr"]
        folder = _models_folder(self.settings) / str(asr["model"])
        model = str(folder) if folder.is_dir() else str(asr["model"]).removeprefix("whisper-")
        words = (*map(str, files), "--model", model, "--compute-type", str(asr["compute_type"]))
        lines = run_module("loadtest.plain_whisper", *words, timeout_s=WHISPER_S).splitlines()
        return {Path(row["file"]): row["text"] for row in map(json.loads, lines)}

    def add_to(self, folder: Path, judged: Judged) -> None:
        """The rows that need the models of a voice call; sound that they are given is kept in `folder`."""
        with _said_why("the floor"):
            self._floor(folder, judged)
        with _said_why("the pauses between phrases"):
            add_late_phrases([facts for _, facts in judged], lambda text: read_speech(said(text, self.settings)))

    def _floor(self, folder: Path, judged: Judged) -> None:
        timed = [(take, facts, asked) for take, facts in judged for asked in facts.asked if asked.moments is not None]
        if not timed:
            return
        if self.way_ms is None:
            raise CallFailed("the way to the server and back is not known: for a room this needs its LiveKit keys")
        files = {asked.what: _kept(folder, "floor", take, asked) for take, _, asked in reversed(timed)}
        print(f"\nthe models alone, {len(files)} turns …", flush=True)
        rows = {row["file"]: row for row in models_alone(self.settings, list(files.values())) if "file" in row}
        for _, facts, asked in timed:
            add_overhead(asked, float(rows[str(files[asked.what])]["floor_ms"]), self.way_ms, facts)


def add_overhead(asked: Asked, models_ms: float, way_ms: float, facts: Facts) -> None:
    """One turn's rows, as `overhead` defines them."""
    assert asked.voice_to_voice_ms is not None
    waited = waited_ms(asked.moments or {})
    facts.add("floor_ms", models_ms + way_ms)
    facts.add("waited_ms", waited)
    facts.add("overhead_ms", asked.voice_to_voice_ms - models_ms - way_ms - waited)


def add_plain_words(folder: Path, judged: Judged, transcribe: Transcribe) -> None:
    """How many words of each turn somebody else gets wrong who is given the same sound."""
    turns = [(facts, asked, _kept(folder, "turn", take, asked)) for take, facts in judged for asked in facts.asked]
    turns = [turn for turn in turns if turn[1].words]
    with _said_why("the words of plain Whisper"):
        heard = transcribe([path for _, _, path in turns]) if turns else {}
        for facts, asked, path in turns:
            if path in heard:
                wrong = word_errors(asked.words or "", heard[path])
                facts.counted[f"plain_words_wrong{asked.row}"].append(Count(wrong.errors, wrong.words))


def add_late_phrases(facts: Sequence[Facts], sound_of: Callable[[str], Pcm]) -> None:
    """How much longer than meant each silence between two phrases was. `sound_of` as in `voice_pauses`."""
    boundaries = [boundary for each in facts for boundary in each.boundaries]
    meant = voice_pauses(boundaries, sound_of)
    for each in facts:
        for boundary in each.boundaries:
            add_phrase(max(0.0, boundary.silence_ms - meant[sign_of(boundary.text)]), boundary.long, each)


def voice_pauses(boundaries: Sequence[Boundary], sound_of: Callable[[str], Pcm]) -> dict[str, float]:
    """Sign at a phrase's end -> ms of silence that the voice itself makes between it and the next: the median of a few
    phrases. `sound_of`: text -> int16[n] at 24 kHz, with `EDGE_MS` of silence around it."""
    phrases = defaultdict[str, list[str]](list)
    for boundary in boundaries:
        known = phrases[sign_of(boundary.text)]
        if len(known) < A_SIGN and boundary.text not in known:
            known.append(boundary.text)
    edges = {sign: [_edges_ms(sound_of(text.strip())) for text in texts] for sign, texts in phrases.items()}
    before = float(np.median([lead for pairs in edges.values() for lead, _ in pairs])) if edges else 0.0
    return {sign: before + float(np.median([pause for _, pause in pairs])) for sign, pairs in edges.items()}


def sign_of(text: str) -> str:
    """What a phrase ends with: a sign, or nothing."""
    last = text.strip()[-1:]
    return "" if last.isalnum() else last


def _edges_ms(pcm: Pcm) -> tuple[float, float]:
    """Silence before and after the voice, without what was put around it."""
    first, last = voiced_span(pcm, RATE_HZ) or (0, len(pcm) - 1)
    edges = (first * 1000 / RATE_HZ - EDGE_MS, (len(pcm) - 1 - last) * 1000 / RATE_HZ - EDGE_MS)
    return max(0.0, edges[0]), max(0.0, edges[1])


def _kept(folder: Path, word: str, take: Take, asked: Asked) -> Path:
    path = folder / f"{take.name}_{word}_{asked.first}.wav"
    write_wav(path, take.caller[asked.first : asked.last])
    return path


def _models_folder(settings: str) -> Path:
    """Where the server keeps its models (`store.cache_dir`)."""
    store: Mapping[str, object] = json.loads(settings).get("store") or {}
    folder = str(store.get("cache_dir") or "~/.cache/antiphon/models")
    xdg = os.environ.get("XDG_CACHE_HOME")
    if xdg and folder.startswith("~/.cache/"):
        return Path(xdg, folder.removeprefix("~/.cache/"))
    return Path(folder).expanduser()


@contextmanager
def _said_why(what: str) -> Iterator[None]:
    """Ctrl-C leaves out no more than this: the calls were long."""
    try:
        yield
    except (CallFailed, KeyboardInterrupt) as failed:
        print(f"{what}: not measured. {failed or 'stopped'}", flush=True)
