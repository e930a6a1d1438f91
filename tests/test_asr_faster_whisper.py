import asyncio
import re

import numpy as np
import pytest
from faster_whisper import WhisperModel

from deployments.asr.faster_whisper import FasterWhisper
from deployments.asr.options import AsrOptions
from deployments.asr.utterance import before_repeating, is_silent, repeats_itself, split
from deployments.asr.whisper_decoder import join_pieces
from deployments.audio import resample, to_float
from deployments.contracts import SPEECH_RATE_HZ, ModelFiles
from deployments.errors import BadModel, BadRequest
from loadtest.repertoire import mhm
from serve_app.call_options import BACKCHANNELS
from serve_app.conversation.barge_in import Backchannels
from tests.spoken import model, said, speech

OPTIONS = AsrOptions(model="whisper-tiny.en")


@pytest.fixture(scope="module")
def files() -> ModelFiles:
    return model("whisper-tiny.en", "asr")


@pytest.fixture(scope="module")
def engine(files: ModelFiles) -> FasterWhisper:
    return FasterWhisper.load(files, OPTIONS)


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def errors(said: list[str], heard: list[str]) -> int:
    """Edit distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


async def test_it_makes_no_more_errors_than_plain_whisper(engine: FasterWhisper, files: ModelFiles) -> None:
    plain = WhisperModel(str(files.paths["model.bin"].parent), device="cpu", compute_type="int8", cpu_threads=1)
    ours = theirs = total = 0
    for text, audio in speech().items():
        segments, _ = plain.transcribe(to_float(audio), beam_size=1, language="en")
        theirs += errors(words(text), words(" ".join(segment.text for segment in segments)))
        ours += errors(words(text), words((await engine.transcribe(audio)).text))
        total += len(words(text))
    assert ours <= theirs + 0.005 * total


async def test_speech_longer_than_the_model_takes_loses_no_sentence(engine: FasterWhisper) -> None:
    gap = np.zeros(9600, np.int16)
    said = list(speech().items())
    said = (said * 20)[: max(len(said), 12)]
    audio = np.concatenate([part for _, sentence in said for part in (sentence, gap)])
    assert len(audio) > 27 * 16_000
    total = [word for text, _ in said for word in words(text)]
    assert errors(total, words((await engine.transcribe(audio)).text)) <= 0.1 * len(total)


@pytest.mark.parametrize("loudness", [0, 3, 100, 1000])
async def test_nothing_is_dreamt_up_where_nobody_speaks(engine: FasterWhisper, loudness: float) -> None:
    noise = (np.random.default_rng(1).normal(0, 1, 40_000) * loudness).astype(np.int16)
    transcript = await engine.transcribe(noise)
    assert (transcript.text, transcript.audio_ms) == ("", 2500)
    assert (await engine.transcribe(noise[:0])).text == ""
    assert (await engine.transcribe(noise[:1])).text == ""


async def test_a_hint_that_makes_it_repeat_itself_is_survived(engine: FasterWhisper) -> None:
    hint = "The pencils have all been used. At that high level, the air is pure."
    for text, audio in speech().items():
        assert len(words((await engine.transcribe(audio, hint=hint)).text)) <= len(words(text)) + 1


async def test_a_suspicious_result_is_heard_again_with_more_silence(engine: FasterWhisper) -> None:
    suspicious = 0
    for silence in (0, 800, 1600, 3200, 4000, 4800):
        audio = np.concatenate([np.zeros(silence, np.int16), said("Excuse me."), np.zeros(3200, np.int16)])
        suspicious += repeats_itself(engine._decoder.quick(to_float(audio), "en", "", OPTIONS.padding_ms).text)
        for hasty in (True, False):
            heard = await engine.transcribe(audio, hasty=hasty)
            assert (words(heard.text), heard.doubtful) == (["excuse", "me"], False)
    assert suspicious


async def test_in_haste_a_repetition_is_cut_instead_of_heard_as_long_as_it_takes(engine: FasterWhisper) -> None:
    audio = np.tile(np.concatenate([said("Wait, no."), np.zeros(1600, np.int16)]), 4)
    hasty, patient = await engine.transcribe(audio, hasty=True), await engine.transcribe(audio)
    assert hasty.doubtful
    assert not patient.doubtful
    assert errors(4 * ["wait", "no"], words(patient.text)) <= 2 < errors(4 * ["wait", "no"], words(hasty.text))


async def test_languages(engine: FasterWhisper) -> None:
    assert engine.capabilities().languages == ("en",)
    assert (await engine.transcribe(np.zeros(9, np.int16), language="en-US")).language == "en"
    with pytest.raises(BadRequest) as refused:
        await engine.transcribe(np.zeros(9, np.int16), language="de")
    assert refused.value.field == "language"


async def test_word_times_follow_one_another_inside_the_audio(files: ModelFiles) -> None:
    engine = FasterWhisper.load(files, OPTIONS.model_copy(update={"word_times": True}))
    text, audio = next(iter(speech().items()))
    transcript = await engine.transcribe(audio)
    times = [ms for word in transcript.words for ms in (word.start_ms, word.end_ms)]
    assert " ".join(word.text for word in transcript.words) == transcript.text
    assert len(transcript.words) == len(words(text))
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= transcript.audio_ms
    await engine.unload()


async def test_cancelled_requests_end_and_the_next_is_served(engine: FasterWhisper) -> None:
    text, audio = next(iter(speech().items()))
    requests = [asyncio.create_task(engine.transcribe(np.tile(audio, 20))) for _ in range(4)]
    await asyncio.sleep(0.05)
    for request in requests:
        request.cancel()
    ended = await asyncio.gather(*requests, return_exceptions=True)
    assert {type(end) for end in ended} == {asyncio.CancelledError}
    assert errors(words(text), words((await engine.transcribe(audio)).text)) <= 1


def test_files_that_are_no_model_are_the_operators_fault(
    files: ModelFiles, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    for name in ("model.bin", "tokenizer.json"):
        (folder / name).write_bytes(b"not a model")
    with pytest.raises(BadModel, match=r"tiny\.en cannot be loaded"):
        FasterWhisper.load(ModelFiles("x", {path.name: path for path in folder.iterdir()}), OPTIONS)
    with pytest.raises(BadModel, match=r"tokenizer\.json"):
        FasterWhisper.load(ModelFiles("x", {"model.bin": files.paths["model.bin"]}), OPTIONS)


def test_cuts_fall_into_pauses_and_lose_nothing() -> None:
    audio = np.random.default_rng(2).integers(-9000, 9000, 100_000).astype(np.int16)
    audio[30_000:34_000] = 0
    windows = list(split(audio, 40_000))
    assert 30_000 < len(windows[0]) < 34_000
    assert max(map(len, windows)) <= 40_000
    np.testing.assert_array_equal(np.concatenate(windows), audio)
    assert list(split(audio[:0], 40_000)) == []


def test_silence_is_measured_by_its_loudest_20_ms() -> None:
    click = np.zeros(16_000, np.int16)
    assert is_silent(click, -60)
    click[8000:8320] = 100  # -50 dBFS
    assert not is_silent(click, -60)
    assert is_silent(click, -40)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("The child almost hurt the small dog.", False),
        ("Ask not what your country can do for you, ask what you can do for your country.", False),
        ("A thin stripe runs down the middle. A thin stripe, runs down the", True),
        ("no no no no no", True),
        ("Sunday is the best part. The dog is small. Sunday is the", True),
        ("", False),
    ],
)
def test_repetitions_are_seen(text: str, repeats: bool) -> None:
    assert repeats_itself(text) is repeats


@pytest.mark.parametrize(
    ("text", "before"),
    [
        ("At that time, at that time.", "At that time,"),
        ("Drop. Drop. Drop? Drop.", "Drop."),
        ("Drop the two when you drop the two", "Drop the two when you"),
        ("The child almost hurt the small dog.", "The child almost hurt the small dog."),
        ("", ""),
    ],
)
def test_the_text_before_a_repetition(text: str, before: str) -> None:
    assert before_repeating(text) == before


async def test_a_hum_is_heard_as_a_backchannel(engine: FasterWhisper) -> None:
    hum = resample(mhm(0.5, np.random.default_rng(0)), 24_000, SPEECH_RATE_HZ)
    heard = await engine.transcribe(np.concatenate([np.zeros(1600, np.int16), hum]))
    assert Backchannels(BACKCHANNELS).may_be_all_of(heard.text)
    assert heard.text


def test_punctuation_joins_the_word_before_it() -> None:
    pieces = [
        {"word": " don", "start": 0.1, "end": 0.3, "probability": 0.9},
        {"word": "'t", "start": 0.3, "end": 0.4, "probability": 0.8},
        {"word": ".", "start": 0.4, "end": 0.9, "probability": 0.5},
    ]
    [word] = join_pieces(pieces)
    assert (word.text, word.start_ms, word.end_ms) == ("don't.", 100, 400)
