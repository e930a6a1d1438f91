"""What the server says that it understood, and when; and what it says of its own times."""

from collections.abc import Iterable

from loadtest.facts import Count, Evidence, Facts, ms
from loadtest.moments import Moment
from loadtest.recording import RATE_HZ
from loadtest.script import Case
from loadtest.statistics import word_errors, words_of
from loadtest.take import Said

SPANS = (
    ("server_first_token_ms", "llm_started", "llm_first_token"),
    ("server_first_audio_ms", "tts_started", "tts_first_audio"),
    ("server_pause_ms", "interruption_started", "playout_paused"),
    ("server_stop_ms", "interruption_started", "playout_stopped"),
)

LATER = RATE_HZ // 2
"""A transcript may come so long after the answer's first sound."""


def judge_understanding(said: Said, until: int, evidence: Evidence, facts: Facts) -> None:
    """The caller's words as they come to the client, up to the answer: what is understood later somebody else said.

    A word is taken back where a transcript was told with it in its stable beginning, and a later one of the same item
    has another word in its place, or none. What is told as not yet stable may change.
    """
    answer = evidence.between(said.voiced_last, until)
    until = min(until, answer[0][0] + LATER) if answer else until
    partials = evidence.moments("partial", said.voiced_first, until)
    finals = evidence.moments("final", said.voiced_first, until)
    if partials:
        facts.add("first_partial_ms", ms(partials[0].at - said.voiced_first))
        facts.counted["words_taken_back"].append(words_taken_back([*partials, *finals]))
    if finals:
        facts.add("transcript_told_ms", ms(finals[-1].at - said.voiced_last))
        case = evidence.take.case
        if said.role == "turn" and said.words and not case.echo and (row := row_of(case)) is not None:
            heard = " ".join({moment.item: moment.text for moment in finals}.values())
            wrong = word_errors(said.words, heard)
            facts.counted[f"words_wrong{row}"].append(Count(wrong.errors, wrong.words))


def row_of(case: Case) -> str | None:
    """How the rows of a case's words end; None where the noise is of no stated level."""
    if case.noise is None:
        return ""
    return "_in_noise" if case.noise_below_db is not None else None


def words_taken_back(told: Iterable[Moment]) -> Count:
    """Over all texts of each item: words of their stable beginnings that a later text no longer has in their place, out
    of all such words that were told before the last text."""
    sure: dict[str, list[str]] = {}
    taken = new = 0
    for moment in told:
        words, before = words_of(moment.text), sure.get(moment.item, [])
        kept = _alike(before, words)
        stable = max(kept, len(words_of(moment.text[: moment.stable])))
        taken += len(before) - kept
        new += (stable - kept) * (moment.kind == "partial")
        sure[moment.item] = words[:stable]
    return Count(taken, new)


def _alike(before: list[str], after: list[str]) -> int:
    """How many words both begin with."""
    shorter = min(len(before), len(after))
    return next((n for n in range(shorter) if before[n] != after[n]), shorter)


def servers_word(timeline: Moment, facts: Facts) -> None:
    """A turn's times by the server's own clock."""
    at = {str(entry["name"]): float(entry["at_ms"]) for entry in timeline.data.get("moments", ())}
    if timeline.data.get("origin") == "caller_stopped" and "transcript_ready" in at:
        facts.add("server_transcript_ready_ms", at["transcript_ready"])
    for row, start, end in SPANS:
        if start in at and end in at:
            facts.add(row, at[end] - at[start])
