"""The directory of models: who speaks a voice, who understands a language, who answers a call."""

from collections.abc import AsyncGenerator

import numpy as np
import pytest

from deployments.contracts import AudioChunk, Capabilities, Pcm, Transcript
from deployments.errors import BadRequest
from serve_app.conversation.items import CallSettings
from serve_app.directory import Directory
from tests.call_kit import synthetic_asr, synthetic_llm, synthetic_tts
from tests.directory_kit import directory_of


def told(*, second_llm: object = None) -> Directory:
    directory = directory_of(
        german=("asr", synthetic_asr()), large=("llm", second_llm or synthetic_llm()), others=("tts", synthetic_tts())
    )
    directory.learn("others", Capabilities(("de",), ("anna", "joe")))
    directory.learn("asr", Capabilities(("en",)))
    directory.learn("german", Capabilities(("de",)))
    directory.learn("llm", Capabilities())
    directory.learn("large", Capabilities(tools=True))
    directory.learn("tts", Capabilities(("en-us",), ("joe", "amy")))
    directory.learn("turn", Capabilities())
    return directory


def test_the_default_voice_comes_first_whoever_was_asked_first() -> None:
    assert told().voices == ("joe", "amy", "anna")
    assert told().languages == ("en", "de")
    assert directory_of().voices == ()


def test_an_asr_that_names_no_language_takes_all() -> None:
    directory = told()
    directory.learn("german", Capabilities())
    assert directory.languages == ()


def test_a_voice_is_spoken_by_who_has_it() -> None:
    directory = told()
    default, others = directory._models["tts"], directory._models["others"]
    assert [directory.tts_of(voice) for voice in (None, "joe", "amy", "anna", "nobody")] == [
        default, default, default, others, default,
    ]  # fmt: skip


def test_a_language_is_understood_by_who_knows_it() -> None:
    directory = told()
    default, german = directory._models["asr"], directory._models["german"]
    assert [directory.asr_of(code, "asr") for code in (None, "en", "de", "xx")] == [default, default, german, default]
    assert [directory.asr_of(code, "german") for code in (None, "en", "de")] == [german, default, german]


def test_a_call_gets_the_model_that_it_names_or_needs() -> None:
    large = synthetic_llm()
    directory = told(second_llm=large)
    assert directory.models(CallSettings("", models=("large",))).llm is large
    assert directory.models(CallSettings("", needs=("llm.tools",))).llm is large
    assert directory.models(CallSettings("")).llm is not large
    with pytest.raises(BadRequest, match="No tts model"):
        directory.models(CallSettings("", needs=("tts.cloning",)))


def test_a_language_brings_a_voice_that_speaks_it() -> None:
    directory = told()
    assert directory.settle(CallSettings("", language="de")).voice == "anna"
    assert directory.settle(CallSettings("", language="en")).voice is None, "the default one speaks it"
    assert directory.settle(CallSettings("", language="de", voice="amy")).voice == "amy"


class Other:
    """Another voice and another ear, told by their answers."""

    async def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[AudioChunk]:
        yield AudioChunk(np.zeros(80, np.int16), 8_000)

    async def transcribe(
        self, audio: Pcm, *, language: str | None = None, hint: str = "", hasty: bool = False
    ) -> Transcript:
        return Transcript("auf Deutsch", (), 0.0, 5, "de")


async def test_a_voice_and_a_language_may_change_within_a_call() -> None:
    """Each request goes by its own."""
    directory = told()
    directory._models |= {"others": Other(), "german": Other()}
    models = directory.models(CallSettings(""))
    rates = [[chunk.rate_hz async for chunk in models.tts.speak("12", voice=voice)] for voice in ("joe", "anna", "joe")]
    assert [8_000 in each for each in rates] == [False, True, False]
    silence = np.zeros(1600, np.int16)
    heard = [(await models.asr.transcribe(silence, language=code)).text for code in ("en", "de", None)]
    assert heard == ["", "auf Deutsch", ""]


class Choosy:
    """Speaks with one voice of its own, and says which was asked for."""

    def __init__(self, voice: str) -> None:
        self.voice = voice
        self.asked: list[str | None] = []

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0
    ) -> AsyncGenerator[AudioChunk, None]:
        self.asked.append(voice)
        if voice not in (None, self.voice):
            raise BadRequest(f"voice {voice!r} is not known", field="voice")
        if text == "too long":
            raise BadRequest("text is too long", field="text")
        yield AudioChunk(np.zeros(1, np.int16), 16_000)


async def test_a_voice_whose_model_was_replaced_under_a_call_gives_way_to_the_default_one() -> None:
    tts = Choosy("joe")
    directory = Directory({"tts": tts}, {"tts": "tts"})
    directory.learn("tts", Capabilities(voices=("joe",)))
    tts.voice = "lark"
    assert len([chunk async for chunk in directory.tts.speak("hello", voice="joe")]) == 1
    assert tts.asked == ["joe", None]


@pytest.mark.parametrize(("text", "voice"), [("hello", "nobody"), ("too long", "joe")])
async def test_what_else_is_refused_stays_refused(text: str, voice: str) -> None:
    tts = Choosy("joe")
    directory = Directory({"tts": tts}, {"tts": "tts"})
    directory.learn("tts", Capabilities(voices=("joe",)))
    with pytest.raises(BadRequest):
        [chunk async for chunk in directory.tts.speak(text, voice=voice)]
    assert tts.asked == [voice]
