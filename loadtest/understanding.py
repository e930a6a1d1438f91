"""What the server says that it understood, and when; and what it says of its own times."""

from collections.abc import Iterable

from loadtest.facts import Evidence, Facts, ms
from loadtest.moments import Moment
from loadtest.recording import RATE_HZ
from loadtest.statistics import words_of
from loadtest.take import Said

SPANS = (
    ("server_first_token_ms", "llm_started", "llm_first_token"),
    ("server_first_audio_ms", "tts_started", "tts_first_audio"),
)

LATER = RATE_HZ // 2
"""A transcript may come so long after the answer's first sound."""


def judge_understanding(said: Said, until: int, evidence: Evidence, facts: Facts) -> None:
    """The caller's words as they come to the client, up to the answer: what is understood later somebody else said."""
    answer = evidence.between(said.voiced_last, until)
    until = min(until, answer[0][0] + LATER) if answer else until
    partials = evidence.moments("partial", said.voiced_first, until)
    finals = evidence.moments("final", said.voiced_first, until)
    if partials:
        facts.add("first_partial_ms", ms(partials[0].at - said.voiced_first))
        facts.add("words_taken_back", words_taken_back([*partials, *finals]))
    if finals:
        facts.add("transcript_told_ms", ms(finals[-1].at - said.voiced_last))


def words_taken_back(told: Iterable[Moment]) -> int:
    """Over all texts of each item: words that the next text no longer has in their place."""
    last: dict[str, list[str]] = {}
    taken = 0
    for moment in told:
        words, before = words_of(moment.text), last.get(moment.item, [])
        taken += len(before) - _alike(before, words)
        last[moment.item] = words
    return taken


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
