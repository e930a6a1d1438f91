from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.contracts import Pcm, Word
from deployments.vad.energy import EnergyVad
from deployments.vad.options import VadOptions
from serve_app.call_options import CallOptions, TurnTakingOptions
from serve_app.conversation.items import SemanticVad
from serve_app.conversation.judging import TurnJudge
from serve_app.evaluation import clips
from serve_app.evaluation.asking import Models, moments, pauses_of
from serve_app.evaluation.clips import Sentence
from serve_app.evaluation.pauses import Latencies, Material, Pause, read_material, write_material
from serve_app.evaluation.replay import replay
from serve_app.evaluation.report import table
from serve_app.evaluation.scores import by_options, by_silence, frontier, judged, score
from serve_app.evaluation.search import Trial, best, changed, curves
from tests.call_kit import synthetic_asr, synthetic_llm, synthetic_turn

LATENCIES = Latencies(turn_ms=50, transcript_ms=80, sentence_end_ms=60)
OPTIONS = TurnTakingOptions()


def tone(ms: int, level: int = 8000) -> Pcm:
    made: Pcm = (level * np.sin(np.arange(16 * ms) * 0.3)).astype(np.int16)
    return made


def sentence(name: str = "one", held_out: bool = False, ms: int = 1000) -> Sentence:
    return Sentence(name, "voice", held_out, tone(ms))


def pause(lasts_ms: int | None, sound: float, words: float | None, kind: str = "cut", held_out: bool = False) -> Pause:
    sounds = tuple((ms, sound) for ms in moments(lasts_ms))
    return Pause("a clip", "end" if lasts_ms is None else kind, "voice", held_out, "words", lasts_ms, sounds, words)


# --- clips


def test_a_hesitation_is_drawn_by_the_seed_and_stays_within_its_bounds() -> None:
    made = [clips.paused(sentence(f"{n}"), tone(500), seed, "cut") for n in range(30) for seed in (1, 1, 2)]
    lengths = [(len(clip.audio) // 16) - 1500 - clips.LEAD_MS - clips.END_MS for clip in made]
    assert lengths[0::3] == lengths[1::3] != lengths[2::3]
    assert all(clips.HESITATION_MS[0] - 1 <= ms <= clips.HESITATION_MS[1] for ms in lengths)
    assert len(set(lengths)) > 30
    for clip in made:
        assert clip.pause_at is not None
        assert not clip.audio[clip.pause_at : clip.pause_at + 16 * clips.HESITATION_MS[0] - 16].any()


def test_a_sentence_is_cut_between_its_words() -> None:
    spoken = np.concatenate([tone(400), np.zeros(16 * 40, np.int16), tone(400), np.zeros(16 * 40, np.int16), tone(300)])
    words = [Word("a", 0, 410, 1.0), Word("b", 430, 850, 1.0), Word("c", 870, 1180, 1.0)]
    made = clips.cuts(Sentence("s", "people", True, spoken), words, 5, seed=1)
    assert [clip.name for clip in made] == ["s / 1", "s / 2"]
    starts = [(clip.pause_at or 0) // 16 - clips.LEAD_MS for clip in made]
    assert 400 <= starts[0] <= 440
    assert 840 <= starts[1] <= 880
    assert all(clip.held_out and clip.kind == "cut" for clip in made)
    assert clips.cuts(Sentence("s", "people", True, spoken), words[:1], 5, seed=1) == []


def test_noise_lies_ten_decibels_below_the_speech() -> None:
    clean = clips.whole(sentence())
    noisy = clips.noisy(clean, seed=1)
    noise = noisy.audio.astype(float) - clean.audio
    power_db = 10 * np.log10(np.mean(tone(1000).astype(float) ** 2) / np.mean(noise**2))
    assert power_db == pytest.approx(clips.NOISE_DB, abs=0.3)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    low, high = (spectrum[n : 2 * n].sum() for n in (len(noise) // 64, len(noise) // 8))
    assert low == pytest.approx(high, rel=0.3)  # as much in each octave


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 400), st.integers(1, 600), st.integers(0, 400))
def test_silence_around_speech_is_cut_off(before_ms: int, speech_ms: int, after_ms: int) -> None:
    silences = [np.zeros(16 * ms, np.int16) for ms in (before_ms, after_ms)]
    left = clips.trimmed(np.concatenate([silences[0], tone(speech_ms), silences[1]]))
    assert speech_ms - 1 <= len(left) // 16 <= speech_ms + 60


async def test_the_models_are_asked_in_every_pause() -> None:
    clip = clips.paused(sentence(ms=600), tone(600), 1, "unfinished")
    vad = EnergyVad(VadOptions(engine="energy", model=None))
    models = Models(synthetic_asr(), synthetic_llm(), synthetic_turn(), vad, CallOptions())
    first, last = await pauses_of(models, clip)
    assert (first.kind, last.kind) == ("unfinished", "end")
    assert first.lasts_ms is not None
    put_in_ms = len(clip.audio) // 16 - 1200 - clips.LEAD_MS - clips.END_MS
    assert abs(first.lasts_ms - put_in_ms) < 130  # a voice is known to be back after two windows
    assert [ms for ms, _ in first.sounds] == list(moments(first.lasts_ms))
    assert [ms for ms, _ in last.sounds] == list(moments(None))
    assert models.latencies().turn_ms > 0


# --- replay


def test_a_sure_turn_is_over_when_the_words_are_known() -> None:
    slow = Latencies(turn_ms=50, transcript_ms=200, sentence_end_ms=70)
    sure = TurnTakingOptions(certainty_offset=20)
    assert replay(pause(None, 0.99, 0.9), TurnJudge(SemanticVad(), sure), slow).after_ms == 64 + 200 + 70
    never = Latencies(turn_ms=50, transcript_ms=9e9, sentence_end_ms=0)
    after_ms = replay(pause(None, 0.99, 0.9), TurnJudge(SemanticVad(), sure), never).after_ms
    assert after_ms is not None
    assert sure.words_wait_ms <= after_ms < sure.words_wait_ms + 64


def test_a_timeout_ends_turns_by_itself_and_cuts_in_on_longer_pauses() -> None:
    verdicts = judged([pause(ms, 0.0, 0.0) for ms in (400, 500, 513, 2000)], by_silence(500), LATENCIES)
    assert [verdict.cut_in for verdict in verdicts] == [False, False, True, True]
    assert [verdict.after_ms for verdict in verdicts] == [None, None, 512, 512]


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.none() | st.floats(0, 1))
def test_a_replay_ends_finished_turns_and_surer_opinions_end_them_sooner(
    one: float, other: float, words: float | None
) -> None:
    less, more = sorted([one, other])
    waits = [judged([pause(None, sound, words)], by_options(OPTIONS), LATENCIES)[0].after_ms for sound in (less, more)]
    assert waits[0] is not None
    assert waits[1] is not None
    assert OPTIONS.min_silence_ms <= waits[1] <= waits[0] <= OPTIONS.medium_silence_ms + 32


# --- scores and search


def test_a_score_tells_delays_cut_ins_and_what_nobody_can_know_apart() -> None:
    pauses = [pause(None, 0, 0), pause(300, 0, 0), pause(900, 0, 0), pause(900, 0, 0, "joined")]
    verdicts = judged(pauses, by_silence(640), LATENCIES)
    scored = score(verdicts)
    assert (scored.p50_ms, scored.p90_ms) == (640, 640)
    assert (scored.cut_ins.happened, scored.cut_ins.of, scored.joined.happened, scored.joined.of) == (1, 2, 1, 1)
    assert "1 of 1" in table(verdicts)


def trial() -> Trial:
    random = np.random.default_rng(5)
    ends = [pause(None, float(random.beta(5, 2)), float(random.beta(3, 6))) for _ in range(20)]
    others = [pause(int(random.integers(250, 1500)), float(random.beta(2, 5)), float(random.beta(1, 20))) for _ in ends]
    return Trial([*ends, *others], LATENCIES)


def test_the_curves_trade_delay_for_cut_ins() -> None:
    for curve in curves(trial(), OPTIONS):
        delays = [point.score.mean_ms for point in curve.points]
        cut_ins = [point.score.cut_ins.happened for point in curve.points]
        assert delays == sorted(delays, reverse=True)
        assert cut_ins == sorted(cut_ins)


def test_a_search_gives_the_same_unbeaten_sets_for_the_same_seed() -> None:
    found = best(trial(), OPTIONS, tries=24, seed=3)
    assert found == best(trial(), OPTIONS, tries=24, seed=3)
    assert frontier([scored for _, scored in found]) == list(range(len(found)))
    for changes, scored in found:
        assert trial().score(by_options(changed(OPTIONS, changes))) == scored


@pytest.mark.parametrize("changes", [{"sound_weight": -1}, {"no_such": 1}, {"words_weight": "much"}])
def test_options_are_checked(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="TurnTakingOptions"):
        changed(OPTIONS, changes)


def test_material_is_kept_as_it_was(tmp_path: Path) -> None:
    made = Material((pause(None, 0.5, None), pause(300, 0.25, 0.125, held_out=True)), LATENCIES)
    write_material(tmp_path / "folder" / "a.json", made)
    assert read_material(tmp_path / "folder" / "a.json") == made
    assert [len(made.part(held_out=part)) for part in (False, True)] == [1, 1]
