"""What is no turn: noises, backchannels, the agent's own echo. Did it stop the agent for good, and when did it resume?

The agent is stopped for good where its answer falls silent at the sound and does not come back, though there was more
of it: the client cut it, or the server calls it cancelled. Where nothing is told, falling silent is taken for that.
"""

from itertools import pairwise

from loadtest.facts import AT_ONCE, SILENCE, Evidence, Facts, Stretch, merged, ms
from loadtest.take import Said


def judge_sound(said: Said, until: int, evidence: Evidence, facts: Facts) -> None:
    """A noise or a backchannel over an answer. `until` the next turn begins."""
    begun = evidence.moments("answer_begins", said.voiced_first, until)
    answer = [stretch for stretch in evidence.voice if stretch[0] < (begun[0].at if begun else until)]
    phrases = merged(answer, SILENCE)
    at = next((n for n, (first, last) in enumerate(phrases) if first <= said.voiced_first <= last + SILENCE), None)
    if at is None:
        facts.say(f"{said.what!r} fell into a silence, and is not counted")
        return
    silent_from, back = phrases[at][1], [first for first, _ in phrases[at + 1 :]]
    fell_silent = silent_from <= said.voiced_last + AT_ONCE
    stopped = fell_silent and not back and _was_to_go_on(said.voiced_first, until, evidence)
    facts.chance(f"false_barge_ins_{said.called or said.role}", stopped)
    facts.chance("answered_nobody", bool(begun))
    if stopped:
        facts.say(f"stopped for good at {said.what!r}")
    elif fell_silent and back and _noticed(said, evidence):
        facts.add("resumed_after_ms", ms(back[0] - silent_from))
        facts.say(f"paused at {said.what!r} and spoke on after {ms(back[0] - silent_from):.0f} ms")
    else:
        facts.say(f"spoke on over {said.what!r}")
    if begun:
        facts.say(f"took {said.what!r} for a turn and answered it")


def judge_undisturbed(row: str, answer: list[Stretch], until: int, evidence: Evidence, facts: Facts) -> None:
    """An answer that nobody spoke over, though something was in the microphone all the time. Needs a server that tells
    when it answers."""
    if not evidence.told:
        return
    begun = evidence.moments("answer_begins", answer[0][0], until)
    answer = [stretch for stretch in answer if not begun or stretch[0] < begun[0].at]
    cuts = evidence.moments("cut", answer[0][0], until)
    back = [first for first, _ in answer if cuts and first > cuts[-1].at]
    stopped = evidence.cancelled(answer[0][0], until) or (bool(cuts) and not back)
    facts.chance(f"false_barge_ins_{row}", stopped)
    facts.chance("answered_nobody", bool(begun))
    if stopped:
        facts.say("stopped for good though nobody spoke")
    if begun:
        facts.say("answered though nobody spoke")
    _resumptions(answer, evidence, facts)


def _resumptions(answer: list[Stretch], evidence: Evidence, facts: Facts) -> None:
    """Each silence in an answer at whose beginning the server heard a voice."""
    for (_, last), (first, _) in pairwise(merged(answer, SILENCE)):
        if evidence.moments("hears_voice", last - AT_ONCE, last + SILENCE):
            facts.add("resumed_after_ms", ms(first - last))


def _was_to_go_on(since: int, until: int, evidence: Evidence) -> bool:
    return not evidence.told or bool(evidence.moments("cut", since, until)) or evidence.cancelled(since, until)


def _noticed(said: Said, evidence: Evidence) -> bool:
    return not evidence.told or bool(evidence.moments("hears_voice", said.voiced_first, said.voiced_last + AT_ONCE))
