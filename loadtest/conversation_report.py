"""What stays of a conversation: a table, JSON, a picture, a page, and every recording."""

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from loadtest.alone import Alone, Transcribe, add_plain_words
from loadtest.facts import Facts, Spoken
from loadtest.page import render, stereo, transcript
from loadtest.report import machine
from loadtest.room_bench import Findings, draw
from loadtest.rows import as_message, gathered, rows_of, table
from loadtest.strip import draw_strip
from loadtest.take import Take
from loadtest.verdict import judge
from loadtest.wav import write_wav
from loadtest.wire import CallFailed

TRANSCRIBE_S = 300.0
NOTE = "*: the server's own word, from its timelines; all else is measured at the client, in ms"
DRAWN = ("voice_to_voice_ms", "overhead_ms", "interruption_answered_ms", "barge_in_ms", "first_partial_ms")


def write(
    folder: Path, transport: str, takes: Sequence[Take], transcribe: str | None, alone: Alone | None = None
) -> dict[str, Any]:
    """Print the table, save `conversation_TRANSPORT.json`, `.png` and `.html`, and beside them a folder of recordings
    and strips. Returns what the last line says. Where neither the command `transcribe` nor `alone` is given, what they
    would say is left out."""
    stem = folder / f"conversation_{transport}"
    judged = [(take, judge(take)) for take in takes]
    _keep(stem, takes)
    facts = [fact for _, fact in judged]
    values = gathered(facts, _worked_out(stem, judged, transcribe, alone))
    values_kept = {name: known for name, known in values.items() if "frame_" not in name}  # 50 a second
    rows = rows_of(facts, values)
    shown = f"{table(rows)}\n\n{NOTE}"
    title = f"A conversation over a {transport}"
    print(f"\n{title}\n{shown}")
    result = {**as_message(rows), "cases": len(takes), "failed": sum(bool(take.failed) for take in takes)}
    result |= {"transport": transport, "machine": machine()}
    details = [_details(take, fact) for take, fact in judged]
    text = json.dumps({**result, "values": values_kept, "takes": details}, indent=1)
    stem.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    stem.with_suffix(".html").write_text(render(title, f"{machine()}\n\n{shown}", judged), encoding="utf-8")
    try:
        draw(stem.with_suffix(".png"), _picture(title, values))
    except ImportError:
        print("no picture: pip install 'antiphon[bench]'")
    print(f"listen to it: {stem.with_suffix('.html')}")
    return result


def of_both(room: Mapping[str, Any], socket: Mapping[str, Any]) -> dict[str, Any]:
    """One line of what `write` returned for a room and for a socket, whose keys begin with `socket_`."""
    over_the_socket = {f"socket_{name}": said for name, said in socket.items() if name not in ("transport", "machine")}
    return {**room, **over_the_socket, "transport": "both"}


def _keep(stem: Path, takes: Sequence[Take]) -> None:
    stem.mkdir(parents=True, exist_ok=True)
    for take in takes:
        write_wav(stem / f"{take.name}.wav", stereo(take))
        (stem / f"{take.name}.svg").write_text(draw_strip(take), encoding="utf-8")


def _details(take: Take, facts: Facts) -> dict[str, Any]:
    return {
        "name": take.name,
        "good": facts.good and not take.failed,
        "verdict": facts.sentences,
        "words": transcript(take),
        "values": {name: values for name, values in facts.values.items() if "frame_" not in name},
        "chances": facts.chances,
        "counted": {name: [asdict(count) for count in counts] for name, counts in facts.counted.items()},
        "failed": take.failed,
    }


def _picture(title: str, values: Mapping[str, Sequence[float]]) -> Findings:
    drawn = {name: list(values[name]) for name in DRAWN if values[name]}
    return Findings("conversation", title, one_scale=True, values=drawn)


def _worked_out(
    stem: Path, judged: Sequence[tuple[Take, Facts]], command: str | None, alone: Alone | None
) -> dict[Spoken, str] | None:
    """What is known only when the calls are over is added to the facts; and the words in each interrupted answer's
    sound, None without anybody who transcribes."""
    if alone:
        alone.add_to(stem, judged)
    plain_whisper = alone.plain_whisper if alone and alone.hears_words else None
    transcribe = _by_command(command) if command else plain_whisper
    if transcribe is None:
        return None
    add_plain_words(stem, judged, transcribe)
    return _heard(stem, judged, transcribe)


def _heard(stem: Path, judged: Sequence[tuple[Take, Facts]], transcribe: Transcribe) -> dict[Spoken, str] | None:
    """The words in the sound of each interrupted answer; nothing of those where it fails."""
    places: dict[Path, Spoken] = {}
    for take, facts in judged:
        for number, spoken in enumerate(answer for answer in facts.spoken if not answer.whole):
            path = stem / f"{take.name}_heard_{number + 1}.wav"
            write_wav(path, take.agent[spoken.first : spoken.last + 1])
            places[path] = spoken
    try:
        return {places[path]: words for path, words in transcribe(list(places)).items()} if places else {}
    except (CallFailed, KeyboardInterrupt) as failed:
        print(f"the interrupted answers were not transcribed: {failed}")
        return None


def _by_command(command: str) -> Transcribe:
    def transcribe(files: Sequence[Path]) -> dict[Path, str]:
        heard: dict[Path, str] = {}
        for path in files:
            try:
                heard[path] = _transcribed(command, path)
            except (OSError, subprocess.SubprocessError) as failed:
                print(f"{path} was not transcribed: {failed}")
        return heard

    return transcribe


def _transcribed(command: str, path: Path) -> str:
    words = [*shlex.split(command), str(path)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=True, timeout=TRANSCRIBE_S)
    return done.stdout.strip()
