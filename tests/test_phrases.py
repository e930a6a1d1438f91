"""Phrases that come late, over the socket and in a room, and pauses that are a voice's own."""

import numpy as np
import pytest

from loadtest.alone import EDGE_MS, add_late_phrases, voice_pauses
from loadtest.facts import Boundary, Count, Facts
from loadtest.moments import Moment
from loadtest.recording import Gap
from loadtest.take import Sound
from loadtest.voiced import Pcm
from tests.scripted_server import tone
from tests.test_verdict import QUESTION, judged, moment, ms

BEGUN, DONE = moment(1300, "answer_begins"), moment(8000, "timeline", origin="caller_stopped", moments=[])
ANSWER = [(1500, 2500), (2800, 4000), (4100, 5000), (5400, 6000), (6050, 7000)]


def phrases(*told_at: int) -> list[Moment]:
    texts = ["One, ", "two, ", "three ", "four. ", "five."]
    return [moment(at, "agent_text", "".join(texts[: n + 1]), "a0") for n, at in enumerate(told_at)]


def socket(*gaps: tuple[int, int]) -> Sound:
    return Sound(gaps=tuple(Gap("a0", ms(at), ms(length)) for at, length in gaps))


def late(told: list[Moment], sound: Sound) -> Facts:
    return judged([QUESTION], ANSWER, [BEGUN, DONE, *told], sound)


def test_over_the_socket_the_silence_before_a_phrase_is_what_its_sound_was_late() -> None:
    facts = late(phrases(1400, 2400, 3900, 4900, 5900), socket((2800, 250), (5400, 30), (5500, 30)))
    assert facts.values["phrase_late_ms"] == [0, 250, 0, 60, 0]
    assert sum(count.happened for count in facts.counted["late_phrases_of_long_answers"]) == 2
    assert len(facts.counted["late_phrases_of_long_answers"]) == 5
    assert facts.boundaries == []


def test_a_short_answer_is_timed_and_does_not_count_as_a_long_one() -> None:
    facts = late(phrases(1400, 2400), socket((2800, 250)))
    assert facts.values["phrase_late_ms"] == [0, 250]
    assert "late_phrases_of_long_answers" not in facts.counted


def test_another_answers_gap_is_none_of_this_one() -> None:
    facts = late(phrases(1400, 2400), Sound(gaps=(Gap("a1", ms(2800), ms(250)),)))
    assert facts.values["phrase_late_ms"] == [0, 0]


@pytest.mark.parametrize("spoiled", [[moment(3000, "hears_voice")], [moment(2600, "agent_text", "Other", "a1")]])
def test_an_answer_that_may_have_paused_by_itself_is_not_looked_at(spoiled: list[Moment]) -> None:
    facts = late([*phrases(1400, 2400), *spoiled], socket((2800, 250)))
    assert "phrase_late_ms" not in facts.values


def test_in_a_room_the_server_says_what_gaps_it_left() -> None:
    told = [BEGUN, moment(8000, "timeline", origin="caller_stopped", moments=[], gaps_ms=[60.5])]
    facts = judged([QUESTION], ANSWER, [*told, *phrases(1400, 2400, 3900, 4900, 5900)], Sound())
    assert facts.values["server_phrase_late_ms"] == [60.5, 0, 0, 0, 0]
    assert facts.counted["server_late_phrases_of_long_answers"] == [Count(1, 5)]
    whole = late(phrases(1400, 2400, 3900, 4900, 5900), Sound())
    assert "server_phrase_late_ms" not in whole.values


def test_in_a_room_each_place_where_a_phrase_was_told_has_its_silence() -> None:
    facts = late(phrases(1400, 2600, 3950, 5300, 6500), Sound())
    assert [(place.text, round(place.silence_ms)) for place in facts.boundaries] == [
        ("One, ", 300),
        ("two, ", 100),
        ("three ", 400),  # told while the agent was silent already: it came late
        ("four. ", 0),  # no silence near
    ]
    assert all(place.long for place in facts.boundaries)


def test_in_a_room_a_silence_that_comes_later_is_the_voices_own() -> None:
    facts = late(phrases(1400, 3000), Sound())
    assert [place.silence_ms for place in facts.boundaries] == [0]


def said(text: str) -> Pcm:
    """In a voice that leaves 30 ms before a phrase, and 120 ms after a comma."""
    after_ms = 120 if text.endswith(",") else 20
    pieces = [np.zeros(ms(EDGE_MS + 30), np.int16), tone(0.5), np.zeros(ms(EDGE_MS + after_ms), np.int16)]
    return np.concatenate(pieces)


def test_a_voices_own_pause_follows_from_the_sign_before_it() -> None:
    boundaries = [Boundary("One, ", 300, True), Boundary("two ", 90, True), Boundary("three", 90, True)]
    assert voice_pauses(boundaries, said) == {",": pytest.approx(150, abs=2), "": pytest.approx(50, abs=2)}


def test_only_what_is_longer_than_meant_was_late() -> None:
    facts = Facts(boundaries=[Boundary("One, ", 300, True), Boundary("two, ", 100, False)])
    add_late_phrases([facts], said)
    assert facts.values["phrase_late_ms"] == pytest.approx([150, 0], abs=2)
    assert facts.counted["late_phrases_of_long_answers"] == [Count(1, 1)]
