"""The page of a conversation and its strips: complete in themselves, and nothing that was said can break them."""

import base64
import io
import re
import sys
import wave
from xml.etree import ElementTree

import numpy as np
import pytest

from loadtest.moments import Moment
from loadtest.page import render, sound_uri, transcript
from loadtest.recording import RATE_HZ
from loadtest.script import Case
from loadtest.strip import draw_strip
from loadtest.take import Said, Take
from loadtest.verdict import judge
from tests.scripted_server import tone

NASTY = "<script>alert('&')</script>"


@pytest.fixture
def take() -> Take:
    take = Take(Case.model_validate({"name": "a_case", "about": NASTY, "turns": [{"say": "x"}]}), 1)
    take.said.append(Said("turn", NASTY, 0, 0, 0, RATE_HZ))
    take.caller, take.agent = tone(1.0), np.concatenate([np.zeros(2 * RATE_HZ, np.int16), tone(0.5)])
    take.moments = [
        Moment(RATE_HZ, "final", "what was <understood>", "q"),
        Moment(2 * RATE_HZ, "agent_text", "an", "a"),
        Moment(3 * RATE_HZ, "agent_text", "an answer", "a"),
        Moment(RATE_HZ, "answer_begins"),
        Moment(RATE_HZ, "problem", "something"),
    ]
    return take


def test_a_strip_is_a_picture_with_both_sides_and_the_moments(take: Take) -> None:
    picture = ElementTree.fromstring(draw_strip(take))
    titles = [title.text for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert f"turn: {NASTY}" in titles
    assert "words 1.00 s what was <understood>" in titles
    assert int(picture.attrib["width"]) > 2.5 * 60


def test_a_take_of_a_call_that_never_was_has_a_strip() -> None:
    ElementTree.fromstring(draw_strip(Take(Case.model_validate({"name": "a", "turns": [{"say": "x"}]}), 0)))


def test_a_page_needs_nothing_beside_it(take: Take) -> None:
    page = render("A title", "a table <", [(take, judge(take))])
    assert NASTY not in page
    assert re.findall(r"(?:src|href)='?\"?([^'\"> ]{5})", page) == ["#a_ca", "data:"]
    for words in (
        "a table &lt;",
        "a_case_2",
        "<audio controls",
        "<svg",
        "answered",
        "an answer",
        "not as it should be",
    ):
        assert (words in page) == (words != "not as it should be")
    take.failed = "the agent left"
    assert "not as it should be" in render("A title", "", [(take, judge(take))])


def test_the_words_in_their_order(take: Take) -> None:
    said = [line.split("s  ", 1)[1] for line in transcript(take)]
    assert said == [f"turn: {NASTY}", "problem: something", "understood: what was <understood>", "agent: an answer"]


def test_its_sound_can_be_played_with_and_without_soundfile(monkeypatch: pytest.MonkeyPatch) -> None:
    both = np.stack([tone(0.2), -tone(0.2)], axis=1)
    assert sound_uri(both).startswith("data:audio/flac;base64,ZkxhQ")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    kind, _, data = sound_uri(both).partition(",")
    assert kind == "data:audio/wav;base64"
    with wave.open(io.BytesIO(base64.b64decode(data))) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (2, RATE_HZ, len(both))
