"""The floor: how long the models alone take for the same input, in this process, without Ray and without a network.

antiphon check-config CONFIG --json | python -m deployments.measure FILE.wav… --settings - [--runs 5]

The files are the turns of conversations of five, as a caller would say them; each is held several times, each time as
a new session whose prompt up to the turn is in the model's memory already, as it is in a call that had time since the
turn before. One JSON object a file (medians over the runs, in ms), then one over all turns, last:

    vad_ms            voice activity of one window of 32 ms
    turn_ms           one judgement of turn detection on the whole turn
    transcript_ms     the whole turn to text
    first_token_ms    from the request to the LLM's first text
    first_phrase_ms   from the request to enough text to speak: a clause, or three words
    first_audio_ms    from that phrase to its first audio
    floor_ms          transcript + first phrase + first audio: the sequence in which each needs the one before.
                      Turn detection and voice activity run beside it.
"""

import argparse
import asyncio
import json
import re
import sys
import time
import wave
from collections.abc import Awaitable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np

from deployments.asr.deployment import AsrEngine
from deployments.audio import resample, to_float
from deployments.contracts import SPEECH_RATE_HZ, Llm, Message, Pcm, TextDelta, Tts, VoiceActivity
from deployments.errors import AntiphonError, BadRequest
from deployments.in_process import SETTINGS_HELP, Engines, Sections, read_sections
from deployments.llm.deployment import LlmEngine
from deployments.tts.deployment import TtsEngine
from deployments.turn.deployment import TurnEngine

T = TypeVar("T")
FIRST_PHRASE = re.compile(r"\s*(?:[^.!?,;:]*?[\w'’]+[.!?,;:](?=\s|$)|(?:\S+\s+){3})")
"""A clause with its punctuation, or three words: what a voice can begin with."""
ANSWER_TOKENS = 60
TURNS_A_CALL = 5  # then a new conversation begins, so that the prompt is as long as in a short call
PERCENTILES = {"p50": 50, "p90": 90, "p95": 95, "max": 100}


@dataclass(slots=True)
class Models:
    asr: AsrEngine
    llm: LlmEngine
    tts: TtsEngine
    turn: TurnEngine
    vad: VoiceActivity


Times = dict[str, float]
"""What the module's description lists, in ms."""


async def measure_turn(models: Models, history: list[Message], session_id: str, audio: Pcm) -> Times:
    """One turn, each model alone after the other. `audio`: int16[n] at 16 kHz. Adds the turn to `history`."""
    window = to_float(audio[: models.vad.window_samples])[None]
    vad_ms, _ = await _timed(asyncio.to_thread(models.vad.probabilities, window, [models.vad.new_state()]))
    turn_ms, _ = await _timed(models.turn.end_of_turn(audio[-8 * SPEECH_RATE_HZ :]))
    transcript_ms, transcript = await _timed(models.asr.transcribe(audio))
    await _prepare(models.llm, history, session_id)
    history.append(Message("user", transcript.text))
    first_token_ms, first_phrase_ms, answer, phrase = await _answer(models.llm, history, session_id)
    history.append(Message("assistant", answer))
    first_audio_ms, _ = await _timed(_first_audio(models.tts, phrase))
    return {
        "vad_ms": vad_ms,
        "turn_ms": turn_ms,
        "transcript_ms": transcript_ms,
        "first_token_ms": first_token_ms,
        "first_phrase_ms": first_phrase_ms,
        "first_audio_ms": first_audio_ms,
        "floor_ms": transcript_ms + first_phrase_ms + first_audio_ms,
    }


async def _timed(work: Awaitable[T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = await work
    return (time.perf_counter() - started) * 1000, result


async def _prepare(llm: Llm, history: Sequence[Message], session_id: str) -> None:
    """The prompt up to here into the model's memory: a request for no tokens."""
    async with aclosing(llm.generate(history, session_id=session_id, max_tokens=0, temperature=0)) as items:
        async for _ in items:
            pass


async def _answer(llm: Llm, history: Sequence[Message], session_id: str) -> tuple[float, float, str, str]:
    """(first token ms, first phrase ms, whole answer, first phrase). An answer of one phrase is spoken when it ends."""
    started, text = time.perf_counter(), ""
    first_token_ms = phrase_ms = None
    phrase = ""
    stream = llm.generate(history, session_id=session_id, max_tokens=ANSWER_TOKENS, temperature=0)
    async with aclosing(stream) as items:
        async for item in items:
            if not isinstance(item, TextDelta):
                continue
            text += item.text
            now_ms = (time.perf_counter() - started) * 1000
            first_token_ms = now_ms if first_token_ms is None else first_token_ms
            if phrase_ms is None and (begun := FIRST_PHRASE.match(text)):
                phrase_ms, phrase = now_ms, begun.group()
    ended_ms = (time.perf_counter() - started) * 1000
    return first_token_ms or ended_ms, phrase_ms or ended_ms, text, phrase or text


async def _first_audio(tts: Tts, phrase: str) -> None:
    async with aclosing(tts.speak(phrase.strip())) as chunks:
        async for _ in chunks:
            return


async def measure(models: Models, recordings: Sequence[Pcm], runs: int, instructions: str) -> list[list[Times]]:
    """For each recording its times in each run. A first run that does not count warms everything."""
    times: list[list[Times]] = [[] for _ in recordings]
    history: list[Message] = []
    session_id = ""
    for run in range(runs + 1):
        for index, audio in enumerate(recordings):
            if index % TURNS_A_CALL == 0:
                history, session_id = [Message("system", instructions)], uuid4().hex
            turn = await measure_turn(models, history, session_id, audio)
            if run:
                times[index].append(turn)
    return times


def medians(runs: Sequence[Times]) -> Times:
    return {name: round(float(np.median([run[name] for run in runs])), 1) for name in runs[0]}


def summary(turns: Sequence[Times]) -> dict[str, dict[str, float]]:
    """Percentiles over the turns of each time."""
    columns = {name: [turn[name] for turn in turns] for name in turns[0]}
    return {
        name: {label: round(float(np.percentile(values, q)), 1) for label, q in PERCENTILES.items()}
        | {"n": len(values)}
        for name, values in columns.items()
    }


def read_wav(path: Path) -> Pcm:
    """A 16-bit WAV of any rate -> int16[n], mono, at 16 kHz. Raises BadRequest."""
    try:
        with wave.open(str(path), "rb") as file:
            if file.getsampwidth() != 2:
                raise BadRequest(f"{path}: samples must have 16 bits")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
            rate_hz = file.getframerate()
    except (OSError, EOFError, wave.Error) as unreadable:
        raise BadRequest(f"{path}: {unreadable}") from unreadable
    return resample(samples.mean(axis=1).astype(np.int16), rate_hz, SPEECH_RATE_HZ)


def load(sections: Sections) -> Models:
    """All models of the settings, warm. Blocks; raises BadModel."""
    engines = Engines(sections)
    return Models(engines.asr(), engines.llm(), engines.tts(), engines.turn(), engines.vad())


async def _run(args: argparse.Namespace) -> None:
    recordings = [read_wav(path) for path in args.files]
    sections = read_sections(args.settings)
    models = await asyncio.to_thread(load, sections)
    times = await measure(models, recordings, args.runs, sections.call.instructions)
    for path, runs in zip(args.files, times, strict=True):
        _print({"file": str(path), **medians(runs)})
    _print({"turns": len(recordings), "runs": args.runs, **summary([turn for runs in times for turn in runs])})
    for engine in (models.asr, models.llm, models.tts, models.turn):
        await engine.unload()


def _print(result: dict[str, Any]) -> None:
    print(json.dumps(result), flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2, with one line, for a file, settings or a model that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m deployments.measure", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE.wav")
    parser.add_argument("--runs", type=int, default=5, help="times that all is said (%(default)s)")
    parser.add_argument("--settings", required=True, metavar="FILE", help=SETTINGS_HELP)
    try:
        asyncio.run(_run(parser.parse_args(argv)))
    except AntiphonError as wrong:
        print(f"deployments.measure: {wrong}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
