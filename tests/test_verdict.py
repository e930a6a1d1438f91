"""What a take comes to, on recordings that are built for it: tones where somebody speaks."""

from typing import Any

import numpy as np
import pytest

from loadtest.facts import Count, Facts
from loadtest.moments import Kind, Moment
from loadtest.recording import RATE_HZ
from loadtest.script import Case
from loadtest.take import Role, Said, Sound, Take
from loadtest.understanding import words_taken_back
from loadtest.verdict import judge
from loadtest.voiced import Pcm
from tests.scripted_server import tone

Span = tuple[int, int]  # ms
QUESTION: tuple[Role, int, int] = ("turn", 0, 1000)


def ms(at: float) -> int:
    return round(at * RATE_HZ / 1000)


def side(length_ms: int, *spans: Span) -> Pcm:
    sound = np.zeros(ms(length_ms), np.int16)
    for first, last in spans:
        sound[ms(first) : ms(last)] = tone((last - first) / 1000)[: ms(last) - ms(first)]
    return sound


def moment(at: int, kind: Kind, text: str = "", item: str = "", **data: Any) -> Moment:
    return Moment(ms(at), kind, text, item, data)


def judged(
    said: list[tuple[Role, int, int]],
    agent: list[Span],
    moments: list[Moment] | None = None,
    sound: Sound | None = None,
    words: str | None = None,
    called: str = "",
    **case: Any,
) -> Facts:
    """`said`: role, first and last ms. `words` of each turn, `called` of every sound."""
    turns = [number for number, (role, _, _) in enumerate(said) if role == "turn"]
    take = Take(Case.model_validate({"name": "case", "turns": [{"say": "x"}], **case}), 0)
    for number, (role, first, last) in enumerate(said):
        turn = sum(at <= number for at in turns) - 1
        span = (ms(first), ms(first), ms(last))
        take.said.append(Said(role, f"{role} {number}", turn, *span, words if role == "turn" else None, called))
    take.agent = side(12_000, *agent)
    take.moments = sorted(moments or [], key=lambda moment: moment.at)
    take.sound = sound or Sound()
    return judge(take)


# --- turns


def test_an_answer_is_timed_from_voice_to_voice() -> None:
    facts = judged([QUESTION, ("turn", 5000, 6000)], [(1500, 2500), (2700, 3000), (6800, 8000)])
    assert facts.values["voice_to_voice_ms"] == pytest.approx([500, 800], abs=2)
    assert facts.values["gap_in_answer_ms"] == pytest.approx([200], abs=2)
    assert facts.chances == {"false_cut_ins": [False, False], "unanswered": [False, False]}
    assert facts.good


def test_who_is_audible_before_the_turn_is_over_has_cut_in_and_is_not_timed() -> None:
    facts = judged([("turn", 0, 4000)], [(2000, 2600), (4500, 6000)])
    assert facts.chances == {"false_cut_ins": [True], "unanswered": [False]}
    assert "voice_to_voice_ms" not in facts.values
    assert not facts.good
    assert "cut in 2000 ms before the end of 'turn 0'" in facts.sentences


@pytest.mark.parametrize("still", [[(1500, 3500)], [(1500, 2200), (4000, 4400)]])
def test_a_turn_into_an_answer_that_does_not_end_is_not_counted(still: list[Span]) -> None:
    facts = judged([QUESTION, ("turn", 3000, 5000)], [*still, (5500, 6000)])
    assert facts.chances["false_cut_ins"] == [False]
    assert len(facts.values["voice_to_voice_ms"]) == 1
    assert any("began while the agent still spoke" in sentence for sentence in facts.sentences)


def test_no_answer() -> None:
    facts = judged([QUESTION], [])
    assert facts.chances == {"false_cut_ins": [False], "unanswered": [True]}


# --- interruptions

STOP: tuple[Role, int, int] = ("interruption", 3000, 3400)
TOLD = [moment(1300, "answer_begins"), moment(3090, "hears_voice"), moment(4000, "answer_begins")]


def test_an_interrupted_agent_is_timed_to_its_last_sample() -> None:
    facts = judged([QUESTION, STOP], [(1500, 3250), (4200, 5000)], TOLD)
    assert facts.values["barge_in_ms"] == pytest.approx([250], abs=2)
    assert facts.values["barge_in_told_ms"] == pytest.approx([90], abs=1)
    assert facts.values["interruption_answered_ms"] == pytest.approx([800], abs=2)
    assert facts.chances["missed_barge_ins"] == [False]
    assert "voice_to_voice_ms" in facts.values


def test_an_agent_who_resumes_and_then_stops_was_silent_only_then() -> None:
    facts = judged([QUESTION, STOP], [(1500, 3250), (3600, 3900), (4200, 5000)], TOLD)
    assert facts.values["barge_in_ms"] == pytest.approx([900], abs=2)


@pytest.mark.parametrize("moments", [TOLD[:1], [*TOLD[:2], moment(8000, "outcome", "completed")]])
def test_an_agent_who_speaks_on_has_missed_it(moments: list[Moment]) -> None:
    facts = judged([QUESTION, STOP], [(1500, 3250), (3700, 7000)], moments)
    assert facts.chances["missed_barge_ins"] == [True]
    assert "barge_in_ms" not in facts.values
    assert any("spoke on over 'interruption 1' for 4000 ms" in sentence for sentence in facts.sentences)


def test_where_nothing_is_told_the_first_sound_after_a_silence_is_the_new_answer() -> None:
    facts = judged([QUESTION, STOP], [(1500, 3550), (4200, 5000)])
    assert facts.values["barge_in_ms"] == pytest.approx([550], abs=2)
    assert facts.values["interruption_answered_ms"] == pytest.approx([800], abs=2)


def test_an_interruption_of_nothing_is_not_counted() -> None:
    facts = judged([QUESTION, STOP], [(1500, 2000), (4200, 5000)], TOLD)
    assert "missed_barge_ins" not in facts.chances
    assert any("fell into a silence" in sentence for sentence in facts.sentences)


def test_what_is_kept_of_an_interrupted_answer_in_a_room() -> None:
    words = [moment(1500, "agent_text", "one two three", "a0"), moment(3300, "agent_text", "one two", "a0")]
    facts = judged([QUESTION, STOP], [(1500, 3250), (4200, 5000)], [*TOLD, *words])
    (kept,) = facts.spoken
    assert (kept.text, kept.whole) == ("one two", False)
    assert kept.voiced_s == pytest.approx(1.75, abs=0.01)


def test_what_is_kept_of_an_interrupted_answer_on_the_socket() -> None:
    words = [
        moment(1400, "agent_text", "one two three", "a0"),
        moment(3100, "cut", item="a0"),
        moment(9000, "history", "one", "a0"),
    ]
    facts = judged([QUESTION, STOP], [(1500, 3090), (4200, 5000)], [*TOLD, *words])
    assert [kept.text for kept in facts.spoken] == ["one"]


def test_an_answer_in_peace_is_heard_whole() -> None:
    words = [moment(1500, "agent_text", "one two", "a0"), moment(2000, "agent_text", "one two three", "a0")]
    facts = judged([QUESTION], [(1500, 2500)], [moment(1300, "answer_begins"), *words])
    assert [(answer.text, answer.whole) for answer in facts.spoken] == [("one two three", True)]


# --- what is no turn

COUGH: tuple[Role, int, int] = ("noise", 3000, 3300)
BEGUN, DONE, CANCELLED = (
    moment(1300, "answer_begins"),
    moment(7000, "outcome", "completed"),
    moment(4000, "outcome", "cancelled"),
)
NOTICED = moment(3080, "hears_voice")
ECHO = {"delay_ms": 80, "level_db": -20}


@pytest.mark.parametrize(
    ("agent", "moments", "stopped", "resumed_ms"),
    [
        ([(1500, 6000)], [BEGUN, DONE], False, []),  # it was not impressed
        ([(1500, 3200), (3900, 6000)], [BEGUN, NOTICED, DONE], False, [700]),
        ([(1500, 3200)], [BEGUN, NOTICED, CANCELLED], True, []),
        ([(1500, 3200)], [BEGUN, NOTICED, moment(3200, "cut", item="a")], True, []),
        ([(1500, 3200)], [BEGUN, DONE], False, []),  # it had no more to say
        ([(1500, 3200), (3600, 6000)], [BEGUN, DONE], False, []),  # a pause of its own
        ([(1500, 3200)], [], True, []),  # nothing is told
        ([(1500, 3200), (3900, 6000)], [], False, [700]),
    ],
)
def test_a_noise(agent: list[Span], moments: list[Moment], stopped: bool, resumed_ms: list[int]) -> None:
    facts = judged([QUESTION, COUGH], agent, moments)
    assert facts.chances["false_barge_ins_noise"] == [stopped]
    assert facts.chances["answered_nobody"] == [False]
    assert facts.values["resumed_after_ms"] == pytest.approx(resumed_ms, abs=2)
    assert facts.good != stopped


def test_a_backchannel_that_is_answered_took_the_turn() -> None:
    moments = [BEGUN, NOTICED, moment(3800, "outcome", "cancelled"), moment(3900, "answer_begins")]
    facts = judged([QUESTION, ("backchannel", 3000, 3300)], [(1500, 3200), (4500, 6000)], moments)
    assert facts.chances["false_barge_ins_backchannel"] == [True]
    assert facts.chances["answered_nobody"] == [True]


def test_of_two_sounds_over_one_answer_each_has_its_own_verdict() -> None:
    moments = [BEGUN, NOTICED, moment(5100, "hears_voice"), moment(6000, "outcome", "cancelled")]
    moments.append(moment(6100, "answer_begins"))
    said: list[tuple[Role, int, int]] = [QUESTION, ("backchannel", 3000, 3300), ("backchannel", 5000, 5200)]
    facts = judged(said, [(1500, 3200), (3700, 5100), (6500, 8000)], moments)
    assert facts.chances["false_barge_ins_backchannel"] == [False, True]
    assert facts.chances["answered_nobody"] == [False, True]
    assert facts.values["resumed_after_ms"] == pytest.approx([500], abs=2)


def test_an_agent_who_stops_for_its_own_echo() -> None:
    moments = [BEGUN, moment(1700, "hears_voice"), moment(2600, "outcome", "cancelled")]
    facts = judged([QUESTION], [(1500, 1800)], moments, echo=ECHO)
    assert facts.chances["false_barge_ins_echo"] == [True]
    moments = [BEGUN, moment(1700, "hears_voice"), moment(1790, "cut", item="a"), DONE]
    facts = judged([QUESTION], [(1500, 1800), (2500, 4000)], moments, echo=ECHO)
    assert facts.chances["false_barge_ins_echo"] == [False]
    assert facts.values["resumed_after_ms"] == pytest.approx([700], abs=2)
    facts = judged([QUESTION], [(1500, 4000)], [BEGUN, DONE], noise={"make": "pink_noise"})
    assert facts.chances["false_barge_ins_noise_all_the_time"] == [False]
    assert facts.chances["answered_nobody"] == [False]


def test_an_agent_who_answers_its_own_echo() -> None:
    moments = [BEGUN, moment(2500, "outcome", "cancelled"), moment(2600, "answer_begins")]
    facts = judged([QUESTION], [(1500, 1800), (3000, 4000)], moments, echo=ECHO)
    assert facts.chances["answered_nobody"] == [True]


def test_an_agent_who_talks_to_itself_says_nothing_of_its_times_and_of_the_callers_words() -> None:
    ready = [{"name": "transcript_ready", "at_ms": 80, "speculative": False}]
    moments = [
        BEGUN,
        moment(1400, "final", "hello", "q0"),
        moment(2500, "final", "its own words", "q1"),
        moment(2600, "answer_begins"),
        moment(4500, "timeline", origin="caller_stopped", moments=ready),
    ]
    facts = judged([QUESTION], [(1500, 1800), (3000, 3500), (4000, 4200)], moments, echo=ECHO)
    assert facts.values["transcript_told_ms"] == pytest.approx([400], abs=1)
    assert "server_transcript_ready_ms" not in facts.values
    assert "gap_in_answer_ms" not in facts.values  # the second answer is none to the caller


# --- words and times


def test_first_words_and_words_taken_back() -> None:
    moments = [
        moment(400, "partial", "I want", "q"),
        moment(700, "partial", "I want to, go", "q"),
        moment(1300, "final", "i want two cakes", "q"),
    ]
    facts = judged([("turn", 100, 1000)], [(1500, 2000)], moments)
    assert facts.values["first_partial_ms"] == pytest.approx([300], abs=1)
    assert facts.counted["words_taken_back"] == [Count(2, 4)]
    assert facts.values["transcript_told_ms"] == pytest.approx([300], abs=1)


@pytest.mark.parametrize(
    ("texts", "taken", "told"),
    [(["a b", "a b c"], 0, 3), (["a b c", "a"], 2, 3), (["a b", "x b"], 2, 4), (["a", "b", "a b"], 2, 4), ([], 0, 0)],
)
def test_words_taken_back(texts: list[str], taken: int, told: int) -> None:
    assert words_taken_back([moment(0, "partial", text, "q") for text in texts]) == Count(taken, told)


def test_only_what_was_told_as_stable_can_be_taken_back() -> None:
    told = [
        Moment(0, "partial", "a b c", "q", stable=1),
        Moment(0, "partial", "a x y", "q", stable=3),
        Moment(0, "partial", "a x", "q", stable=0),  # nothing is said, and what was told as stable is still there
        Moment(0, "final", "a y z", "q"),
    ]
    assert words_taken_back(told) == Count(1, 2)


def test_items_do_not_take_back_each_others_words() -> None:
    assert words_taken_back([moment(0, "partial", "a b", "q0"), moment(0, "partial", "c", "q1")]) == Count(0, 3)


def test_the_servers_own_word() -> None:
    at = {
        "caller_stopped": 0,
        "transcript_ready": 80,
        "llm_started": 90,
        "llm_first_token": 150,
        "tts_started": 200,
        "tts_first_audio": 330,
    }
    moments = [{"name": name, "at_ms": ms, "speculative": False} for name, ms in at.items()]
    typed = moment(5000, "timeline", origin="turn_judged", moments=moments[1:4])
    facts = judged([QUESTION], [], [moment(3000, "timeline", origin="caller_stopped", moments=moments), typed])
    assert facts.values["server_transcript_ready_ms"] == [80]
    assert facts.values["server_first_token_ms"] == [60, 60]
    assert facts.values["server_first_audio_ms"] == [130]


def test_how_the_sound_came() -> None:
    facts = judged([QUESTION], [], sound=Sound((1.0, 2.0), (3.0,), 40.0))
    assert facts.values["frame_late_ms"] == [1, 2]
    assert facts.values["frame_step_ms"] == [3]
    assert facts.values["concealed_ms"] == [40]


# --- what is looked at after the calls, and calls at once


def told_and_timed() -> list[Moment]:
    stamped = [{"name": "turn_judged", "at_ms": 300, "speculative": False}]
    return [
        BEGUN,
        moment(1250, "final", "the cat sat", "q"),
        moment(4000, "timeline", origin="caller_stopped", moments=stamped),
    ]


def test_a_turn_with_known_words_counts_those_that_were_not_understood() -> None:
    facts = judged([QUESTION], [(1500, 2500)], told_and_timed(), words="the cat sat down")
    assert facts.counted["words_wrong"] == [Count(1, 4)]
    assert [(asked.words, asked.row, asked.moments) for asked in facts.asked] == [("the cat sat down", "", None)]
    noisy = judged([QUESTION], [(1500, 2500)], told_and_timed(), words="a", noise=NOISE, noise_below_db=10)
    assert noisy.counted["words_wrong_in_noise"] == [Count(3, 1)]
    assert [asked.row for asked in noisy.asked] == ["_in_noise"]


NOISE = {"make": "pink_noise"}


@pytest.mark.parametrize("case", [{"noise": NOISE}, {"echo": ECHO}])
def test_words_in_a_noise_of_no_stated_level_count_nowhere(case: dict[str, Any]) -> None:
    facts = judged([QUESTION], [(1500, 2500)], told_and_timed(), words="the cat", **case)
    assert not {"words_wrong", "words_wrong_in_noise"} & facts.counted.keys()
    assert facts.asked == []


def test_a_turn_with_a_floor_keeps_its_own_timeline() -> None:
    facts = judged([QUESTION], [(1500, 2500)], told_and_timed(), floor=True)
    (asked,) = facts.asked
    assert asked.moments == {"turn_judged": 300}
    assert asked.voice_to_voice_ms == pytest.approx(500, abs=2)
    assert (asked.first, asked.last) == (0, ms(1200))


def test_a_sound_with_a_name_has_a_row_of_its_own() -> None:
    facts = judged([QUESTION, COUGH], [(1500, 3200)], [BEGUN, NOTICED, CANCELLED], called="cough")
    assert facts.chances["false_barge_ins_cough"] == [True]
    assert "false_barge_ins_noise" not in facts.chances


def test_of_interruptions_in_a_row_each_keeps_its_own_answer() -> None:
    words = [
        moment(1400, "agent_text", "one two three", "a0"),
        moment(3100, "cut", item="a0"),
        moment(4100, "agent_text", "four five", "a1"),
        moment(5100, "cut", item="a1"),
        moment(9000, "history", "one", "a0"),
        moment(9000, "history", "four", "a1"),
    ]
    again: tuple[Role, int, int] = ("interruption", 5000, 5400)
    facts = judged(
        [QUESTION, STOP, again],
        [(1500, 3090), (4200, 5150), (6500, 7000)],
        [*TOLD, *words, moment(6200, "answer_begins")],
    )
    assert [kept.text for kept in facts.spoken] == ["one", "four"]
    assert facts.chances["missed_barge_ins"] == [False, False]


def test_when_the_server_paused_and_when_it_knew_of_an_interruption() -> None:
    at = {"interruption_started": 1000, "playout_paused": 1070, "playout_stopped": 1300}
    moments = [{"name": name, "at_ms": ms, "speculative": False} for name, ms in at.items()]
    facts = judged([QUESTION, STOP], [(1500, 3250)], [*TOLD, moment(5000, "timeline", moments=moments)])
    assert (facts.values["server_pause_ms"], facts.values["server_stop_ms"]) == ([70], [300])


def test_of_calls_at_once_all_stands_in_rows_of_their_own() -> None:
    facts = judged([QUESTION, ("turn", 5000, 6000)], [(1500, 2500)], sound=Sound((1.0,), (2.0,), 3.0), calls=3)
    assert {name: len(values) for name, values in facts.values.items()} == {
        "at_once_voice_to_voice_ms": 1,
        "at_once_frame_late_ms": 1,
        "at_once_frame_step_ms": 1,
        "at_once_concealed_ms": 1,
    }
    assert facts.counted["at_once_unanswered"] == [Count(1, 2)]
    assert facts.chances == {}
    assert any("no answer to" in sentence for sentence in facts.sentences)
