import os
import sys

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor

from deployments.contracts import ModelFiles
from deployments.errors import BadModel
from deployments.options import Timing
from deployments.tones import encode
from deployments.turn.options import TurnOptions
from deployments.turn.smart_turn import SmartTurn, log_mel
from deployments.turn.synthetic import FINISHED, UNFINISHED, SyntheticTurn
from tests.spoken import model, speech

OPTIONS = TurnOptions(model="smart-turn-v3.2")


@pytest.fixture(scope="module")
def engine() -> SmartTurn:
    return SmartTurn.load(model("smart-turn-v3.2", "turn"), OPTIONS)


@pytest.mark.parametrize("samples", [0, 10, 48_000, 127_990, 128_000, 200_000])
def test_features_are_those_of_whisper(samples: int) -> None:
    audio = np.random.default_rng(3).normal(100, 2000, samples).astype(np.int16)
    sound = np.pad(audio[-128_000:] / 32768, (max(0, 128_000 - samples), 0))
    reference = FeatureExtractor()((sound - sound.mean()) / np.sqrt(sound.var() + 1e-7), padding=0)
    np.testing.assert_allclose(log_mel(audio), reference, atol=1e-3)


async def test_a_finished_sentence_is_more_likely_over_than_half_of_it(engine: SmartTurn) -> None:
    ends, middles = [], []
    for audio in speech().values():
        ends.append(await engine.end_of_turn(np.pad(audio, (0, 4800))))
        middles.append(await engine.end_of_turn(audio[: len(audio) // 2]))
    assert np.mean(ends) > np.mean(middles) + 0.2
    assert 0 <= min(ends + middles) <= max(ends + middles) <= 1


async def test_it_is_deterministic_and_looks_at_the_last_8_s_only(engine: SmartTurn) -> None:
    audio = np.random.default_rng(4).normal(0, 2000, 140_000).astype(np.int16)
    assert await engine.end_of_turn(audio) == await engine.end_of_turn(audio[-128_000:])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has priorities for threads")
async def test_its_threads_stand_back(engine: SmartTurn) -> None:
    await engine.end_of_turn(np.zeros(0, np.int16))
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert engine._pool.submit(os.getpriority, os.PRIO_PROCESS, 0).result() == max(own, OPTIONS.niceness)


def test_another_file_is_the_operators_fault(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("broken") / "model.onnx"
    path.write_bytes(b"no model")
    for files in (None, ModelFiles("x", {}), ModelFiles("x", {"model.onnx": path})):
        with pytest.raises(BadModel):
            SmartTurn.load(files, OPTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("what time is it?", FINISHED), ("stop", FINISHED), ("i want,", UNFINISHED), ("well…", UNFINISHED)],
)
async def test_the_synthetic_one_reads_the_punctuation(text: str, expected: float) -> None:
    engine = SyntheticTurn.load(None, TurnOptions(model="x", engine="synthetic", timing=Timing(first_item_ms=0)))
    said = np.concatenate([encode("x" * 150, 16_000), encode(text, 16_000), np.zeros(5000, np.int16)])
    assert await engine.end_of_turn(said) == expected
