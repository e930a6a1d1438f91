import asyncio
import json
import time
from collections.abc import Callable
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.contracts import ModelFiles, Pcm
from deployments.errors import BadModel
from deployments.store import Catalogue, Store, StoreOptions
from deployments.tts.options import TtsOptions
from deployments.tts.piper import LONGEST_PIECE, PAUSE_MS, PiperTts, in_pieces
from deployments.tts.trimming import LOUDNESS, level
from deployments.tts.vits import Whole
from deployments.tts.voices import TtsEngine, VoiceModels

OPTIONS = TtsOptions(model="piper-joe", variation=0, concurrency=1)
LONG = "This sentence goes on and on without any pause because nobody who wrote it thought of the one who speaks it"


@pytest.fixture(scope="module")
def voice() -> ModelFiles:
    return Store(StoreOptions()).fetch(Catalogue.load().get("piper-joe", "tts"))


@pytest.fixture(scope="module")
def engine(voice: ModelFiles) -> PiperTts:
    return PiperTts.load(voice, OPTIONS)


async def sound(engine: TtsEngine, text: str, speed: float = 1.0) -> Pcm:
    chunks = [chunk async for chunk in engine.speak(text, speed=speed)]
    assert {chunk.rate_hz for chunk in chunks} <= {22_050}
    return np.concatenate([np.zeros(0, np.int16), *(chunk.pcm for chunk in chunks)])


def quiet_ms(pcm: Pcm) -> tuple[float, float]:
    """Before and after the sound."""
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 400)
    return loud[0] / 22.05, (len(pcm) - loud[-1]) / 22.05


async def test_it_speaks_at_once_and_breathes_by_the_punctuation(engine: PiperTts) -> None:
    sentence, clause, words = [await sound(engine, f"Good morning{end}") for end in (".", ",", "")]
    assert 0.4 < len(sentence) / 22_050 < 1.6
    assert quiet_ms(sentence)[0] < 25
    assert quiet_ms(sentence)[1] > quiet_ms(clause)[1] + 50
    assert quiet_ms(clause)[1] > quiet_ms(words)[1] + 50


async def test_whatever_it_says_is_about_as_loud(engine: PiperTts) -> None:
    for text in ("Good morning.", "I am fine", "What can I do for you?", f"{LONG}."):
        said = await sound(engine, text)
        loudness = level(np.divide(said, 32768, dtype=np.float32))
        assert 20 * np.log10(loudness / LOUDNESS) == pytest.approx(0, abs=4)
        assert np.abs(said.astype(np.int32)).max() < 32767


async def test_a_phrase_is_heard_before_its_end_is_made(engine: PiperTts) -> None:
    chunks = [chunk async for chunk in engine.speak("It begins with a girl who lives alone.")]
    seconds = [len(chunk.pcm) / 22_050 for chunk in chunks]
    assert 0.1 < seconds[0] < 0.45
    assert sum(seconds) > 2
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


async def test_windows_make_the_sound_that_the_whole_network_makes(engine: PiperTts, voice: ModelFiles) -> None:
    session = onnxruntime.InferenceSession(str(voice.paths["model.onnx"]), providers=["CPUExecutionProvider"])
    whole = PiperTts("piper-joe", engine._voice.config, Whole(session), OPTIONS)
    one, other = [(await sound(each, "It begins with a girl who lives alone.")).astype(int) for each in (engine, whole)]
    assert len(one) == len(other)
    assert np.abs(one - other).max() <= 2  # of 32768


async def test_without_variation_it_says_the_same_again(engine: PiperTts) -> None:
    assert np.array_equal(await sound(engine, "The same."), await sound(engine, "The same."))


async def test_speed(engine: PiperTts) -> None:
    slow, fast = [len(await sound(engine, "How long does this take to say?", speed)) for speed in (0.5, 2.0)]
    assert slow > 2 * fast  # not quite four times: the network's shortest phoneme is a frame of 12 ms


async def test_the_first_of_a_long_text_comes_first(engine: PiperTts) -> None:
    chunks = [len(chunk.pcm) async for chunk in engine.speak(f"Yes. {LONG}. {LONG}.")]
    assert len(chunks) >= 4
    assert chunks[0] < sum(chunks) / 5
    assert max(chunks) < 10 * 22_050


@pytest.mark.parametrize("text", ["", " \n", "…", "?!", "-"])
async def test_nothing_to_say_is_no_chunk(engine: PiperTts, text: str) -> None:
    assert len(await sound(engine, text)) == 0


async def test_streams_at_once_do_not_mix(engine: PiperTts) -> None:
    texts = ["One of us.", "Another one.", "The third of them."]
    alone = [await sound(engine, text) for text in texts]
    together = await asyncio.gather(*(sound(engine, text) for text in texts))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


async def test_cancelling_frees_the_worker_before_the_run_would_have_ended(engine: PiperTts) -> None:
    started = time.perf_counter()
    await anext(engine.speak(LONG))
    whole_run_s = time.perf_counter() - started
    speaking = asyncio.create_task(anext(engine.speak(LONG)))
    await asyncio.sleep(whole_run_s / 5)
    cancelled = time.perf_counter()
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    await asyncio.wrap_future(engine._workers.submit(int))  # the only worker takes it once the run has ended
    assert time.perf_counter() - cancelled < 0.6 * whole_run_s


async def test_after_unload_nothing_is_held(voice: ModelFiles) -> None:
    engine = PiperTts.load(voice, OPTIONS)
    assert engine.capabilities().voices == ("piper-joe",)
    assert engine.capabilities().rate_hz == 22_050
    await engine.unload()
    assert engine._workers._shutdown


async def test_another_model_speaks_beside_it(engine: PiperTts, voice: ModelFiles, tmp_path: Path) -> None:
    joe = Catalogue.load().get("piper-joe", "tts")
    files = {
        name: spec.model_copy(update={"source": (f"file:{voice.paths[name]}",)}) for name, spec in joe.files.items()
    }
    jim = joe.model_copy(update={"id": "piper-jim", "files": files})
    options = OPTIONS.model_copy(update={"more_models": ("piper-jim",)})
    voices = VoiceModels(PiperTts, engine, options, {"piper-jim": jim}, Store(StoreOptions(cache_dir=str(tmp_path))))
    assert voices.names == ("piper-joe", "piper-jim")
    async with voices.use("piper-joe") as first, voices.use("piper-jim") as second:
        assert second.capabilities().voices == ("piper-jim",)
        one, other = await asyncio.gather(*(sound(each, "Hello.") for each in (first, second)))
    assert np.array_equal(one, other)
    assert voices.routing_stats()["resident"] == ["piper-jim", "piper-joe"]


async def test_the_default_model_can_be_loaded_anew_from_its_files(
    engine: PiperTts, voice: ModelFiles, tmp_path: Path
) -> None:
    joe = Catalogue.load().get("piper-joe", "tts")
    files = {
        name: spec.model_copy(update={"source": (f"file:{voice.paths[name]}",)}) for name, spec in joe.files.items()
    }
    specs = {"piper-joe": joe.model_copy(update={"files": files})}
    voices = VoiceModels(PiperTts, engine, OPTIONS, specs, Store(StoreOptions(cache_dir=str(tmp_path))))
    async with voices.use("piper-joe") as old:
        await voices.carry_out("replace", "piper-joe", 60)
        async with voices.use("piper-joe") as new:
            assert new is not old
            assert len(await sound(new, "Hello."))


def test_speakers_are_known_before_the_model_is_loaded(voice: ModelFiles, tmp_path: Path) -> None:
    changed = json.loads(voice.paths["model.onnx.json"].read_text())
    changed |= {"num_speakers": 2, "speaker_id_map": {"ann": 0, "bob": 1}}
    (tmp_path / "config").write_text(json.dumps(changed))
    files = ModelFiles("duo", {"model.onnx.json": tmp_path / "config"})
    assert PiperTts.voices_of(files, OPTIONS) == ("duo", "duo/ann", "duo/bob")


def _garbage(folder: Path, voice: ModelFiles) -> ModelFiles:
    (folder / "model.onnx").write_bytes(b"not a network" * 100)
    return ModelFiles("broken", {**voice.paths, "model.onnx": folder / "model.onnx"})


def _another_network(folder: Path, voice: ModelFiles) -> ModelFiles:
    silero = Path(str(package_files("faster_whisper"))) / "assets" / "silero_vad_v6.onnx"
    return ModelFiles("broken", {**voice.paths, "model.onnx": silero})


def _no_file(folder: Path, voice: ModelFiles) -> ModelFiles:
    return ModelFiles("broken", {**voice.paths, "model.onnx.json": folder / "absent"})


def _unlisted(folder: Path, voice: ModelFiles) -> ModelFiles:
    return ModelFiles("broken", {"model.onnx": voice.paths["model.onnx"]})


def _config(change: Callable[[dict[str, object]], object]) -> Callable[[Path, ModelFiles], ModelFiles]:
    def broken(folder: Path, voice: ModelFiles) -> ModelFiles:
        changed = change(json.loads(voice.paths["model.onnx.json"].read_text()))
        (folder / "config").write_text(changed if isinstance(changed, str) else json.dumps(changed))
        return ModelFiles("broken", {**voice.paths, "model.onnx.json": folder / "config"})

    return broken


@pytest.mark.parametrize(
    "breaking",
    [
        _garbage,
        _another_network,
        _no_file,
        _unlisted,
        _config(lambda config: "{ broken"),
        _config(lambda config: []),
        _config(lambda config: {**config, "espeak": {"voice": "no-such-language"}}),
        _config(lambda config: {**config, "num_speakers": 2, "speaker_id_map": {"ann": 0, "bob": 1}}),
    ],
)
def test_files_that_are_no_voice_are_refused_in_one_line(
    breaking: Callable[[Path, ModelFiles], ModelFiles], tmp_path: Path, voice: ModelFiles
) -> None:
    with pytest.raises(BadModel, match=r"^broken: model\.onnx") as refused:
        PiperTts.load(breaking(tmp_path, voice), OPTIONS)
    assert "\n" not in str(refused.value)


def test_a_voice_needs_files() -> None:
    with pytest.raises(BadModel, match=r"needs model\.onnx"):
        PiperTts.load(None, OPTIONS)


@given(st.text(alphabet="abcde,;. ", max_size=400).map(list))
def test_pieces_joined_are_the_sentence(phonemes: list[str]) -> None:
    pieces = list(in_pieces(phonemes, LONGEST_PIECE))
    assert [phoneme for piece in pieces for phoneme in piece] == phonemes
    assert all(len(piece) <= LONGEST_PIECE for piece in pieces)
    assert all(piece[-1] in ",; " for piece in pieces[:-1] if set(piece) & set(",; "))


def test_a_sentence_ends_with_a_longer_pause_than_a_clause() -> None:
    assert PAUSE_MS["."] > PAUSE_MS[","]
