"""From the facts of all takes to the table of a conversation: rows of figures and rows of counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from loadtest.facts import Count, Facts, Spoken
from loadtest.statistics import Summary, summarise, words_of

FIGURES = {
    "voice_to_voice_ms": "the caller's last voiced sample to the answer's first",
    "overhead_ms": "of it, neither the floor nor silence waited for (`overhead`)",
    "floor_ms": "the models' own times for the same turns, and the way there and back",
    "waited_ms": "silence waited for, with nothing else to do",
    "transcript_told_ms": "the caller's last voiced sample to their words at the client",
    "server_transcript_ready_ms": "the caller's last voiced sample to their words",
    "server_first_token_ms": "the LLM asked to its first token",
    "server_first_audio_ms": "the first phrase's text to its first audio",
    "first_partial_ms": "the caller's first voiced sample to their first words at the client",
    "phrase_late_ms": "silence put before a phrase, or into it, because its sound was not there yet (`phrases`)",
    "server_phrase_late_ms": "the same, of what was given to the room",
    "gap_in_answer_ms": "between two voiced stretches of one answer, above 40 ms; a voice pauses by itself, too",
    "concealed_ms": "of the agent's sound that the receiver made up, a call",
    "frame_late_ms": "a frame of the agent's after it was due",
    "frame_step_ms": "the time between two frames, off from their length",
    "barge_in_ms": "the interruption's first voiced sample to the agent's last",
    "barge_in_told_ms": "the interruption's first voiced sample to the client being told",
    "server_pause_ms": "the voice's onset to the pause: the last frame is given to the transport before it",
    "server_stop_ms": "the voice's onset to the judgement that it is an interruption",
    "interruption_answered_ms": "the interruption's last voiced sample to its answer's first",
    "resumed_after_ms": "silence of an agent who stopped for nothing and spoke on",
    "history_unheard_words": "kept of an interrupted answer and not heard",
    "history_missing_words": "heard of an interrupted answer and not kept",
    "at_once_voice_to_voice_ms": "the same as above, with several calls at once",
    "at_once_phrase_late_ms": "likewise",
    "at_once_frame_late_ms": "likewise",
    "at_once_frame_step_ms": "likewise",
    "at_once_concealed_ms": "likewise",
}
COUNTS = {
    "false_cut_ins": "audible before the caller's turn was over",
    "unanswered": "turns without an answer",
    "missed_barge_ins": "interruptions that did not stop the agent",
    "false_barge_ins_noise": "noises that stopped the agent for good",
    "false_barge_ins_cough": "coughs, likewise",
    "false_barge_ins_music": "music, likewise",
    "false_barge_ins_backchannel": "backchannels that stopped the agent for good",
    "false_barge_ins_mhm": '"mhm", likewise',
    "false_barge_ins_yeah": '"yeah", likewise',
    "false_barge_ins_right": '"right", likewise',
    "false_barge_ins_echo": "answers that their own echo stopped for good",
    "false_barge_ins_noise_all_the_time": "answers that the noise around stopped for good",
    "answered_nobody": "answers to what was no turn",
    "late_phrases_of_long_answers": "phrases that came late, in answers of five and more",
    "server_late_phrases_of_long_answers": "the same, of what was given to the room",
    "words_taken_back": "words that a later transcript no longer had, of all told as stable",
    "words_wrong": "of what the caller said: put in, left out or changed in the server's transcript",
    "plain_words_wrong": "the same for plain Whisper and the same recordings",
    "words_wrong_in_noise": "in noise",
    "plain_words_wrong_in_noise": "in noise, plain Whisper",
    "at_once_unanswered": "turns without an answer, with several calls at once",
}
SERVER = "server_"
"""Rows that begin so are the server's own word, from its timelines; all others are measured at the client."""

Transcriber = Callable[[Spoken], str]


Row = Summary | Count


def rows_of(facts: Sequence[Facts], values: Mapping[str, Sequence[float]]) -> dict[str, Row]:
    """In the order above; a row without a chance or a value is there, too. `values`: of all facts, `gathered`."""
    figures = {name: summarise(values.get(name, ())) for name in FIGURES}
    return {**figures, **{name: _counted(facts, name) for name in COUNTS}}


def _counted(facts: Sequence[Facts], name: str) -> Count:
    chances = [Count(int(happened), 1) for fact in facts for happened in fact.chances.get(name, ())]
    chances += [count for fact in facts for count in fact.counted.get(name, ())]
    return Count(sum(count.happened for count in chances), sum(count.chances for count in chances))


def gathered(facts: Sequence[Facts], heard: Mapping[Spoken, str] | None = None) -> dict[str, list[float]]:
    """Every figure of every take. `heard`: what a transcriber made of each interrupted answer's sound; without one its
    words are reckoned from how long it sounded (`words_off`)."""
    values = {name: [value for fact in facts for value in fact.values.get(name, ())] for name in FIGURES}
    for unheard, missing in words_off([spoken for fact in facts for spoken in fact.spoken], heard):
        values["history_unheard_words"].append(unheard)
        values["history_missing_words"].append(missing)
    return values


def words_off(spoken: Sequence[Spoken], heard: Mapping[Spoken, str] | None = None) -> list[tuple[int, int]]:
    """For each interrupted answer: words kept that were not heard, and heard that are not kept.

    With a transcriber: the words after the last one that both have. Without: as many as the voice says in the time that
    it sounded, by its median pace over the answers that were heard whole; right within a word or two, and nothing where
    there are fewer than two whole answers.
    """
    cut = [answer for answer in spoken if not answer.whole]
    if heard is not None:
        return [_tails(words_of(answer.text), words_of(heard[answer])) for answer in cut if answer in heard]
    paces = [len(words_of(answer.text)) / answer.voiced_s for answer in spoken if answer.whole]
    if len(paces) < 2:
        return []
    pace = float(np.median(paces))
    off = [len(words_of(answer.text)) - round(answer.voiced_s * pace) for answer in cut]
    return [(max(0, words), max(0, -words)) for words in off]


def _tails(kept: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    blocks = SequenceMatcher(None, kept, heard, autojunk=False).get_matching_blocks()
    in_kept, in_heard = max(((a + size, b + size) for a, b, size in blocks if size), default=(0, 0))
    return len(kept) - in_kept, len(heard) - in_heard


def table(rows: Mapping[str, Row]) -> str:
    """For people. Rows that nothing was measured for are left out."""
    head = f"{'':<36}{'p50':>9}{'p90':>9}{'p95':>9}{'max':>9}{'n':>7}"
    figures = [_figures(name, row) for name, row in rows.items() if isinstance(row, Summary) and row.n]
    counts = [
        f"{name:<36}{row.happened:>9} of {row.chances:<6}{100 * row.happened / row.chances:>6.1f} %  {COUNTS[name]}"
        for name, row in rows.items()
        if isinstance(row, Count) and row.chances
    ]
    return "\n".join([head, *figures, "", *counts])


def _figures(name: str, row: Summary) -> str:
    mark = " *" if name.startswith(SERVER) else ""
    cells = "".join(f"{'-' if value is None else f'{value:.1f}':>9}" for value in (row.p50, row.p90, row.p95, row.max))
    return f"{name + mark:<36}{cells}{row.n:>7}  {FIGURES[name]}"


def as_message(rows: Mapping[str, Row]) -> dict[str, Any]:
    """JSON: a key a row."""
    return {name: asdict(row) for name, row in rows.items()}
