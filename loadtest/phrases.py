"""Do the phrases of an answer follow each other as they are meant to, or does one come late?

A voice makes pauses by itself, so a silence says little. What is looked for is the silence that was put in because the
next phrase's sound was not there yet:

    over the socket   exactly: the client's player had played all of the answer that it had, and then more came
                      (`recording.Gap`). What lies in the sound itself never counts.
    in a room         the agent's track never pauses, so it is a difference: the silence at the place where the next
                      phrase's text was told, less the one that the voice makes there by itself (`voice_pauses`, said
                      anew by the config's own voice after the calls). Right within some 40 ms, and for a voice whose
                      pauses follow from the sign that a phrase ends with; what the receiver's jitter buffer stretches
                      counts as well. Beside it stands the server's word, which knows what it gave to the room.

Only answers that nobody spoke over and in which the agent heard nothing count: it may pause for a sound. A phrase is
what the server tells as one; Antiphon does, token by token nothing can be said.
"""

from collections.abc import Sequence
from itertools import pairwise

from loadtest.facts import Boundary, Count, Evidence, Facts, Stretch, ms
from loadtest.moments import Moment
from loadtest.recording import RATE_HZ

LONG = 5
"""Phrases that make an answer a long one: by then what was made ahead is used up."""

LATE_MS = 40.0
"""Less is a consonant, and as much as a room is measured by."""

NEAR = RATE_HZ // 4
"""In a room a phrase's text comes at most so long before the silence that it ends."""


def judge_phrases(since: int, answer: Sequence[Stretch], until: int, evidence: Evidence, facts: Facts) -> None:
    """Of one answer that nobody spoke over, whose texts were told from `since` on."""
    told = [phrases for phrases in evidence.phrases(since, until).values() if phrases]
    heard_something = evidence.moments("hears_voice", answer[0][0], answer[-1][1])
    if not evidence.moments("timeline") or heard_something or len(told) != 1:
        return
    (phrases,) = told
    _server_says(len(phrases), evidence.moments("timeline", answer[0][0]), facts)
    if evidence.take.sound.gaps is not None:
        for begun, following in pairwise([phrases[0].at, *(phrase.at for phrase in phrases[1:]), until]):
            gaps = [gap for gap in evidence.take.sound.gaps if gap.item_id == phrases[0].item]
            late_ms = ms(sum(gap.samples for gap in gaps if begun <= gap.at < following))
            add_phrase(late_ms, len(phrases) >= LONG, facts)
    else:
        for before, after in pairwise(phrases):
            told_before = _new_text(phrases, before)
            silence_ms = _silence_ms(answer, after.at)
            facts.boundaries.append(Boundary(told_before, silence_ms, len(phrases) >= LONG))


def add_phrase(late_ms: float, long: bool, facts: Facts) -> None:
    """A phrase that was so late."""
    facts.add("phrase_late_ms", late_ms)
    if long:
        facts.counted["late_phrases_of_long_answers"].append(Count(int(late_ms > LATE_MS), 1))


def _server_says(phrases: int, timelines: Sequence[Moment], facts: Facts) -> None:
    """Where the server has the clock: the gaps that it left in an answer of so many phrases."""
    gaps_ms = timelines[0].data.get("gaps_ms") if timelines else None
    if gaps_ms is None:
        return
    for late_ms in (*gaps_ms, *[0.0] * (phrases - len(gaps_ms))):
        facts.add("server_phrase_late_ms", late_ms)
    if phrases >= LONG:
        late = sum(gap_ms > LATE_MS for gap_ms in gaps_ms)
        facts.counted["server_late_phrases_of_long_answers"].append(Count(late, phrases))


def _new_text(phrases: Sequence[Moment], phrase: Moment) -> str:
    at = phrases.index(phrase)
    return phrase.text[len(phrases[at - 1].text) if at else 0 :]


def _silence_ms(answer: Sequence[Stretch], told_at: int) -> float:
    """Between the two stretches where a phrase begins that was told then; 0 where the voice makes no pause."""
    near = (first - last for (_, last), (first, _) in pairwise(answer) if first > told_at and last < told_at + NEAR)
    return ms(next(near, 0))
