from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.call_options import BACKCHANNELS, TurnTakingOptions
from serve_app.conversation.barge_in import Backchannels, Intrusion, Verdict, VoiceJudge, WordsJudge, judge_for, repeats

OPTIONS = TurnTakingOptions()
JUDGE = WordsJudge(OPTIONS)
STOP, ON = Verdict.INTERRUPTION, Verdict.FALSE_ALARM
VOICE = Intrusion(voiced_ms=256, silence_ms=0, held_ms=200)
OVER = replace(VOICE, silence_ms=288, held_ms=420)
LONG_OVER = replace(VOICE, silence_ms=416, held_ms=620)

intrusions = st.builds(
    Intrusion,
    voiced_ms=st.integers(0, 5000),
    silence_ms=st.integers(0, 2000),
    held_ms=st.integers(0, 5000),
    level_dbfs=st.floats(-90, 0),
    echo_likeness=st.floats(0, 1),
    words=st.sampled_from([None, "", "mhm", "yeah right", "i", "stop", "what about tomorrow"]),
    unread_ms=st.integers(0, 1000),
    words_expected=st.booleans(),
    own_words=st.booleans(),
)


@pytest.mark.parametrize(
    ("what", "intrusion", "verdict"),
    [
        ("words", replace(VOICE, words="stop"), STOP),
        ("words after a backchannel", replace(VOICE, words="yeah but"), STOP),
        ("words that may yet be an echo", replace(VOICE, words="stop", echo_likeness=0.45), None),
        ("they go on", replace(VOICE, words="stop it", echo_likeness=0.45, voiced_ms=460), STOP),
        ("they are over", replace(LONG_OVER, words="stop", echo_likeness=0.45), STOP),
        ("an order, taken for an echo", replace(VOICE, words="stop", echo_likeness=0.9, orders_silence=True), STOP),
        ("the agent's words", replace(VOICE, words="I'm sorry.", own_words=True), None),
        ("the agent's words are over", replace(OVER, words="I'm sorry.", own_words=True), ON),
        ("and somebody goes on", replace(VOICE, words="I'm sorry.", own_words=True, voiced_ms=460), STOP),
        ("an echo", replace(VOICE, words="the agent's words", echo_likeness=0.6), ON),
        ("a backchannel goes on", replace(VOICE, words="yeah"), None),
        ("a hum goes on", replace(VOICE, words="Mm-hmm.", unread_ms=128), ON),
        ("too long for a hum", replace(VOICE, words="Mhm, mhm.", voiced_ms=704), None),
        ("a hum and more", replace(VOICE, words="mhm yeah"), None),
        ("no words as yet", replace(VOICE, words="..."), None),
        ("a backchannel is over", replace(OVER, words="Mhm."), ON),
        ("and more came after it", replace(OVER, words="yeah", unread_ms=96), None),
        ("half of one", replace(VOICE, words="uh h"), None),
        ("backchannels without end", replace(VOICE, words="yeah yeah", held_ms=1500), STOP),
        ("a click", Intrusion(voiced_ms=64, silence_ms=416, held_ms=416), ON),
        ("a click, just now", Intrusion(voiced_ms=64, silence_ms=100, held_ms=100), None),
        ("a cough without words", replace(OVER, words=""), ON),
        ("its end has not been read", replace(OVER, words="", unread_ms=64), None),
        ("noise goes on", replace(VOICE, words="", voiced_ms=900, held_ms=850), None),
        ("noise without end", replace(VOICE, words="", voiced_ms=1600, held_ms=1500), ON),
        ("a voice, the ASR is slow", replace(VOICE, voiced_ms=448), None),
        ("a long voice, the ASR is slow", replace(VOICE, voiced_ms=480), STOP),
        ("the same from afar", replace(VOICE, voiced_ms=480, level_dbfs=-60), None),
        ("from afar without end", replace(VOICE, voiced_ms=1600, held_ms=1500, level_dbfs=-60), ON),
        ("a word, the ASR never answers", replace(LONG_OVER, held_ms=1500), STOP),
        ("the ASR fails: a voice", replace(VOICE, words_expected=False), STOP),
        ("the ASR fails: a click", replace(LONG_OVER, voiced_ms=96, words_expected=False), ON),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_verdicts(what: str, intrusion: Intrusion, verdict: Verdict | None) -> None:
    assert JUDGE.verdict(intrusion) is verdict, what


@given(intrusions)
def test_the_agent_is_not_silent_for_ever(intrusion: Intrusion) -> None:
    for judge in (JUDGE, VoiceJudge(OPTIONS)):
        assert judge.verdict(replace(intrusion, held_ms=OPTIONS.undecided_ms)) is not None


@given(intrusions)
def test_neither_an_echo_nor_a_backchannel_that_is_over_stops_the_agent(intrusion: Intrusion) -> None:
    assert JUDGE.verdict(replace(intrusion, echo_likeness=OPTIONS.echo_likeness)) is ON
    over = replace(intrusion, words="mhm", silence_ms=OPTIONS.backchannel_silence_ms, unread_ms=0)
    assert JUDGE.verdict(over) is ON


@given(intrusions)
def test_words_that_are_no_echo_stop_it_at_once(intrusion: Intrusion) -> None:
    assert JUDGE.verdict(replace(intrusion, words="stop", echo_likeness=0.0, own_words=False)) is STOP


@given(intrusions)
def test_voice_alone_may_decide(intrusion: Intrusion) -> None:
    judge = judge_for(TurnTakingOptions(barge_in="voice"))
    verdict = judge.verdict(intrusion)
    assert (verdict is STOP) == (intrusion.voiced_ms >= OPTIONS.interruption_ms)
    blind = replace(intrusion, echo_likeness=0.0, words=None, words_expected=False)
    assert verdict is judge.verdict(blind) is JUDGE.verdict(blind)


@pytest.mark.parametrize(
    ("words", "repeated"),
    [
        ("I'm sorry.", True),
        ("sorry you", True),
        ("Sorry, you're no", True),
        ("I'm not", False),
        ("", False),
        ("?", False),
    ],
)
def test_who_repeats_the_agent(words: str, repeated: bool) -> None:
    assert repeats(words, "I'm sorry, I'm sorry. I am sorry you're not available.") is repeated


@given(st.lists(st.sampled_from(BACKCHANNELS), min_size=1, max_size=4), st.integers(1, 40))
def test_any_beginning_of_backchannels_may_become_them(phrases: list[str], cut: int) -> None:
    known = Backchannels(BACKCHANNELS)
    assert known.may_be_all_of(", ".join(phrases).upper() + "...")
    assert known.may_be_all_of(" ".join(phrases)[:cut])


@pytest.mark.parametrize("text", ["stop", "no", "wait", "okay stop", "right now", "i see a problem", "hey mhm", "mhmx"])
def test_other_words_are_no_backchannels(text: str) -> None:
    assert not Backchannels(BACKCHANNELS).may_be_all_of(text)


def test_drawn_out_and_punctuated() -> None:
    known = Backchannels(BACKCHANNELS)
    assert all(known.may_be_all_of(text) for text in ("Mmmmm", "Mm-hmm.", "Uh-huh!", "Okaaay, I see...", "Got it"))
    assert not Backchannels(()).may_be_all_of("mhm")
