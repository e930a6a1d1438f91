"""The sounds of a script, and the scenes that are made of it."""

from pathlib import Path

import numpy as np
import pytest

from loadtest.recording import RATE_HZ
from loadtest.repertoire import MADE, Clip, Repertoire, joined
from loadtest.scenes import Scenes, below
from loadtest.script import BadScript, Part, Script
from loadtest.voiced import Pcm, voiced_stretches
from loadtest.wav import write_wav
from tests.scripted_server import tone

DEMO = Path(__file__).parents[1] / "configs" / "demo.yaml"
LOCAL = Path(__file__).parents[1] / "configs" / "local.yaml"


def silent(ms: int) -> Pcm:
    return np.zeros(RATE_HZ * ms // 1000, np.int16)


def spoken(name: str, seconds: float, edges_ms: int = 100) -> Clip:
    return Clip(name, np.concatenate([silent(edges_ms), tone(seconds), silent(edges_ms)]))


def level_db(pcm: Pcm) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(pcm.astype(np.float64) ** 2)) / 32768))


@pytest.mark.parametrize("pause_ms", [50, 300, 900])
def test_a_pause_is_from_voice_to_voice(pause_ms: int) -> None:
    clip = joined([(spoken("a", 0.5), None), (spoken("b", 0.4), pause_ms)])
    (_, last), (first, _) = voiced_stretches(clip.pcm, RATE_HZ)
    assert (first - last) / 24 == pytest.approx(pause_ms, abs=2)
    assert clip.what == f"a … {pause_ms} ms … b"
    assert len(clip.pcm) == pytest.approx((0.1 + 0.5 + pause_ms / 1000 + 0.4 + 0.1) * RATE_HZ, abs=48)


def test_without_a_pause_nothing_is_put_between() -> None:
    clip = joined([(spoken("a", 0.5), None), (spoken("b", 0.4), None)])
    assert len(clip.pcm) == round(1.3 * RATE_HZ)
    assert clip.what == "a b"


def test_trimmed_begins_and_ends_with_the_voice() -> None:
    assert len(spoken("a", 0.5).trimmed().pcm) == pytest.approx(0.5 * RATE_HZ, abs=24)
    assert len(Clip("silence", silent(80)).trimmed().pcm) == len(silent(80))


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_is_as_long_as_wanted_loud_and_the_same_for_the_same_seed(name: str) -> None:
    first, again, other = (MADE[name](0.7, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert len(first) == round(0.7 * RATE_HZ)
    assert -30 < level_db(first) < -15
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for number in range(3):
        write_wav(tmp_path / f"{number}.wav", tone(0.2 + number / 10))
    (tmp_path / "transcripts.tsv").write_text("file\ttext\n0.wav\tnothing\n1.wav\tmuch\n")
    return tmp_path


def test_recordings_levels_and_what_is_not_there(recordings: Path) -> None:
    repertoire, rng = Repertoire(recordings, LOCAL), np.random.default_rng(1)
    takes = [repertoire.clip([Part(sentence=3)], rng, repeat).what for repeat in range(2)]
    assert takes == ["2.wav", "0.wav"]
    two = [Part(sentence=1), Part(pause_ms=(9, 9)), Part(file="1.wav", level_db=-30)]
    assert repertoire.clip(two, rng).words == "nothing much"
    assert repertoire.clip([*two, Part(sentence=3)], rng).words is None
    assert level_db(repertoire.clip([Part(file="1.wav", level_db=-40)], rng).pcm) == pytest.approx(-40, abs=0.2)
    instead = Part(file="nothing.wav", otherwise=(Part(make="cough", seconds=0.3),))
    assert repertoire.clip([instead], rng).what == "cough"
    with pytest.raises(BadScript, match=r"nothing\.wav: no such file"):
        repertoire.clip([Part(file="nothing.wav")], rng)
    with pytest.raises(BadScript, match="nothing but pauses"):
        repertoire.clip([Part(pause_ms=(1, 1))], rng)


def test_to_who_hears_only_tones_nothing_that_people_recorded_is_said(recordings: Path) -> None:
    repertoire, rng = Repertoire(recordings, DEMO), np.random.default_rng(1)
    clip = repertoire.clip([Part(file="1.wav", otherwise=(Part(text="hello"),))], rng)
    assert (clip.what, clip.words) == ("hello", "hello")
    with pytest.raises(BadScript, match="hears only tones: give it an `otherwise`"):
        repertoire.clip([Part(file="1.wav")], rng)
    assert voiced_stretches(clip.pcm, RATE_HZ)


def test_the_same_seed_makes_the_same_scenes_whichever_are_chosen(recordings: Path) -> None:
    over = {"kind": "noise", "after_ms": [100, 5000], "sound": {"make": "pink_noise", "seconds": 0.2}}
    turn = {"say": {"sentence": 1}, "over": [over]}
    case = {"echo": {"delay_ms": 80, "level_db": -20}, "noise": {"make": "chords"}, "turns": [turn]}
    cases = Script.model_validate({"cases": [{"name": name, **case} for name in ("a", "b")]}).cases
    repertoire = Repertoire(recordings, LOCAL)
    both = list(Scenes(cases, 2, 7).made(repertoire))
    assert [(scene.case.name, scene.repeat) for scene in both] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    alone = list(Scenes(cases[1:], 1, 7).made(repertoire))
    (mine,), (again,) = both[1].turns, alone[0].turns
    assert mine.cues[0].after == again.cues[0].after
    assert np.array_equal(mine.cues[0].clip.pcm, again.cues[0].clip.pcm)
    assert both[1].bed is not None
    assert mine.cues[0].after != both[3].turns[0].cues[0].after
    assert (mine.clip.what, both[3].turns[0].clip.what) == ("0.wav", "1.wav")


def test_a_size_says_how_often_and_calls_at_once_say_other_sentences(recordings: Path) -> None:
    case = {"turns": [{"say": {"sentence": 1}}]}
    cases = [{"name": "a", **case, "times": {"full": 2}}, {"name": "b", **case, "calls": 2}]
    made = Scenes(Script.model_validate({"cases": cases}).cases, 1, 7, "full").made(Repertoire(recordings, LOCAL))
    said = [(scene.case.name, scene.repeat, scene.beside, scene.turns[0].clip.what) for scene in made]
    assert said == [("a", 0, 0, "0.wav"), ("b", 0, 0, "0.wav"), ("b", 0, 1, "1.wav"), ("a", 1, 0, "1.wav")]


def test_noise_lies_so_far_below_the_voice() -> None:
    bed = MADE["pink_noise"](2.0, np.random.default_rng(1))
    clip = spoken("a", 0.5)
    assert level_db(clip.trimmed().pcm) - level_db(below(bed, [clip], 10)) == pytest.approx(10, abs=0.1)
