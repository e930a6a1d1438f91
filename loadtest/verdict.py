"""What a take of a case comes to: measured from its recording, with what the server told only where it must be.

All times are of the caller's clock, in ms, from recorded samples; `voiced` says what counts as a voice. Pure.

    turn           the answer is timed from the caller's last voiced sample to the agent's first one after it. An agent
                   that is audible in between has cut in; such a turn is not timed. One that begins while the agent has
                   not been silent for a second (it would not end) is not counted at all.
    interruption   the agent's old answer is what sounds up to the moment when the server begins a new one (the state
                   thinking, or response.created). Where nothing is told, up to the first sound after the interruption
                   that follows a silence. It is missed where the old answer sounds for more than a second after the
                   interruption's last voiced sample.
    other sounds   see `disturbance`; for words see `understanding`.
"""

from collections import defaultdict
from itertools import pairwise
from math import inf

from loadtest.disturbance import judge_sound, judge_undisturbed
from loadtest.facts import AT_ONCE, SILENCE, Asked, Count, Evidence, Facts, Stretch, ms, spoken
from loadtest.phrases import judge_phrases
from loadtest.recording import RATE_HZ
from loadtest.take import Said, Take
from loadtest.understanding import judge_understanding, row_of, servers_word

MISSED = RATE_HZ
SPOKEN = "caller_stopped"  # the origin of a spoken turn's timeline
AFTER = RATE_HZ // 5
"""Of the silence after a turn this much is given to the models alone: what a recording has."""

AT_ONCE_ROWS = ("voice_to_voice_ms", "frame_late_ms", "frame_step_ms", "concealed_ms", "phrase_late_ms")


def judge(take: Take) -> Facts:
    evidence, facts = Evidence(take), Facts()
    claims = [said for said in take.said if said.role in ("turn", "interruption")]
    ends = [*(said.voiced_first for said in claims[1:]), len(take.agent)]
    before = None
    for said, until in zip(claims, ends, strict=False):  # without a claim the take has an end all the same
        if said.role == "turn" or before is None:
            _turn(said, until, evidence, facts)
        else:
            _interruption(said, before, until, evidence, facts)
        judge_understanding(said, until, evidence, facts)
        before = said
    for said in take.said:
        if said.role in ("backchannel", "noise"):
            later = [other.voiced_first for other in take.said if other.voiced_first > said.voiced_first]
            judge_sound(said, min([*later, len(take.agent)]), evidence, facts)
    if not any(facts.chances.get("answered_nobody", ())):  # else most turns are the agent's with itself
        for timeline in evidence.moments("timeline"):
            servers_word(timeline, facts)
    _smoothness(take, facts)
    if take.case.calls > 1:
        facts = _at_once(facts)
    facts.sentences += [*take.missed, *([f"the call failed: {take.failed}"] if take.failed else [])]
    return facts


# --- a turn


def _turn(said: Said, until: int, evidence: Evidence, facts: Facts) -> None:
    if any(first < said.voiced_first < last + RATE_HZ for first, last in evidence.voice):
        facts.say(f"{said.what!r} began while the agent still spoke, and is not counted")
        return
    early = [first for first, _ in evidence.voice if said.voiced_first < first < said.voiced_last]
    answer = evidence.between(said.voiced_last, until)
    facts.chance("false_cut_ins", bool(early))
    facts.chance("unanswered", not answer and not early)
    if early:
        facts.say(f"cut in {ms(said.voiced_last - early[0]):.0f} ms before the end of {said.what!r}")
    elif not answer:
        facts.say(f"no answer to {said.what!r}")
    else:
        waited_ms = ms(answer[0][0] - said.voiced_last)
        facts.add("voice_to_voice_ms", waited_ms)
        facts.say(f"answered {said.what!r} after {waited_ms:.0f} ms")
        _for_the_models_alone(said, waited_ms, answer[0][0], evidence, facts)
        if all(other is said or other.turn != said.turn for other in evidence.take.said):
            _left_in_peace(said, answer, until, evidence, facts)


def _for_the_models_alone(said: Said, waited_ms: float, since: int, evidence: Evidence, facts: Facts) -> None:
    case, row = evidence.take.case, row_of(evidence.take.case)
    timelines = [told.data for told in evidence.moments("timeline", since) if told.data.get("origin") == SPOKEN]
    moments = {entry["name"]: float(entry["at_ms"]) for entry in timelines[0]["moments"]} if timelines else None
    words = said.words if row is not None and not case.echo else None
    if words or case.floor:
        last = said.voiced_last + AFTER
        timed = moments if case.floor else None
        facts.asked.append(Asked(said.what, said.first, last, words, row or "", waited_ms, timed))


def _left_in_peace(said: Said, answer: list[Stretch], until: int, evidence: Evidence, facts: Facts) -> None:
    """Nobody spoke over this answer. One that was stopped by an order says nothing of what it would have been."""
    if said.turn in evidence.take.stopped:
        return
    case = evidence.take.case
    if case.echo or case.noise:
        judge_undisturbed("echo" if case.echo else "noise_all_the_time", answer, until, evidence, facts)
    if another := evidence.moments("answer_begins", answer[0][0], until):
        until = another[0].at
        answer = [stretch for stretch in answer if stretch[0] < until]
    for (_, last), (first, _) in pairwise(answer):
        facts.add("gap_in_answer_ms", ms(first - last))
    judge_phrases(said.voiced_first, answer, until, evidence, facts)
    text = " ".join(evidence.agent_texts(said.voiced_first, until).values())
    if text and not evidence.moments("cut", said.voiced_first, until):
        facts.spoken.append(spoken(text, answer, whole=True))


# --- an interruption


def _interruption(said: Said, before: Said, until: int, evidence: Evidence, facts: Facts) -> None:
    onset, new = said.voiced_first, _new_answer(said, until, evidence)
    old = evidence.between(before.voiced_last, min(new, until))
    if not any(first <= onset <= last + SILENCE for first, last in old):
        facts.say(f"{said.what!r} fell into a silence, and is not counted")
        return
    end = max(onset, *(last for _, last in old))
    if told := evidence.moments("hears_voice", onset, min(until, said.voiced_last + AT_ONCE)):
        facts.add("barge_in_told_ms", ms(told[0].at - onset))
    missed = end > said.voiced_last + MISSED
    facts.chance("missed_barge_ins", missed)
    if missed:
        facts.say(f"spoke on over {said.what!r} for {ms(end - onset):.0f} ms")
        return
    facts.add("barge_in_ms", ms(end - onset))
    facts.say(f"silent {ms(end - onset):.0f} ms after the onset of {said.what!r}")
    if after := [first for first, _ in evidence.between(said.voiced_last, until) if first >= new]:
        facts.add("interruption_answered_ms", ms(after[0] - said.voiced_last))
    if kept := _kept(said, before, until, evidence):
        facts.spoken.append(spoken(kept, old, whole=False))


def _new_answer(said: Said, until: int, evidence: Evidence) -> float:
    """When what was said over the answer begins to be answered itself."""
    if evidence.told:
        begun = evidence.moments("answer_begins", said.voiced_first, until)
        return begun[0].at if begun else inf
    pairs = pairwise(evidence.voice)
    return next((b for (_, a), (b, _) in pairs if said.voiced_last < b < until and b - a >= SILENCE), inf)


def _kept(said: Said, before: Said, until: int, evidence: Evidence) -> str:
    """What the server keeps of the interrupted answer: told on request, or in a room as its last text."""
    cut = {moment.item for moment in evidence.moments("cut", said.voiced_first, until)}
    if cut:
        kept = {moment.item: moment.text for moment in evidence.moments("history") if moment.item in cut}
    else:
        kept = evidence.agent_texts(before.voiced_first, said.voiced_first)
    return " ".join(kept.values())


# --- sound


def _at_once(facts: Facts) -> Facts:
    """Of several calls at once: their figures stand in rows of their own, and count in no other."""
    kept = {f"at_once_{row}": facts.values[row] for row in AT_ONCE_ROWS if facts.values[row]}
    counted = {"at_once_unanswered": [Count(sum(facts.chances["unanswered"]), len(facts.chances["unanswered"]))]}
    return Facts(values=defaultdict(list, kept), counted=defaultdict(list, counted), sentences=facts.sentences)


def _smoothness(take: Take, facts: Facts) -> None:
    facts.values["frame_late_ms"] += take.sound.late_ms
    facts.values["frame_step_ms"] += take.sound.step_ms
    if take.sound.concealed_ms is not None:
        facts.add("concealed_ms", take.sound.concealed_ms)
