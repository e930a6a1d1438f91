"""A conversation with the real models, spoken and heard through the page."""

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from faster_whisper import WhisperModel

from deployments.audio import resample, to_float
from deployments.contracts import SPEECH_RATE_HZ, ModelFiles, Pcm
from deployments.store import Catalogue, Kind, Store, StoreOptions
from deployments.tts.options import TtsOptions
from deployments.tts.piper import PiperTts
from loadtest.speech import RECORDINGS
from tests.browser.conftest import wait_for_rooms
from tests.browser.page_kit import RATE_HZ, opened, played, recording, talk, wait_until_answered, words_of
from tests.system import ROOMS_OFF


@pytest.fixture
def page_url(request: pytest.FixtureRequest, local_url: str) -> str:
    """In a room, where there are any."""
    if ROOMS_OFF:
        return f"{local_url}/?transport=socket"
    request.getfixturevalue("livekit_client")
    wait_for_rooms(local_url)
    return f"{local_url}/?transport=room"


def test_a_real_conversation(
    playwright: Any, chromium: str, page_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(1) as apart:  # Playwright's own loop runs in this thread
        asked, question = apart.submit(lambda: asyncio.run(_question())).result()
    with opened(playwright, chromium, page_url, recording(tmp_path / "mic.wav", question)) as page:
        talk(page)
        wait_until_answered(page)
        assert _in_common(asked, " ".join(words_of(page, "user"))) >= 0.6
        shown = " ".join(words_of(page, "assistant"))
        with capsys.disabled():
            seen = page.evaluate("[antiphon.transport, antiphon.setupMs, antiphon.pageVoiceToVoiceMs]")
            print("\n{}: button to connected {:.0f} ms, voice to voice {:.0f} ms".format(*seen))
        heard = _transcribed(*played(page))
    assert shown
    assert _in_common(shown, heard) >= 0.6, (shown, heard)  # numbers and names are spelt in many ways


async def _question() -> tuple[str, Pcm]:
    """A sentence and its sound, int16[n] at 48 kHz: a person's voice, or the voice of the answers."""
    recorded = RECORDINGS / "spk1_snt1.wav"
    if recorded.exists():
        pcm, rate_hz = soundfile.read(recorded, dtype="int16")
        return "The child almost hurt the small dog", resample(pcm, rate_hz, RATE_HZ)
    text = "What is the capital of France, and why do people like it?"
    voice = PiperTts.load(_files("piper-joe", "tts"), TtsOptions(model="piper-joe"))
    chunks = [chunk async for chunk in voice.speak(text)]
    return text, resample(np.concatenate([chunk.pcm for chunk in chunks]), chunks[0].rate_hz, RATE_HZ)


def _files(model: str, kind: Kind) -> ModelFiles:
    return Store(StoreOptions()).fetch(Catalogue.load().get(model, kind))


def _transcribed(pcm: Pcm, rate_hz: int) -> str:
    folder = next(iter(_files("whisper-tiny.en", "asr").paths.values())).parent
    segments, _ = WhisperModel(str(folder), device="cpu", compute_type="int8").transcribe(
        to_float(resample(pcm, rate_hz, SPEECH_RATE_HZ)), language="en", condition_on_previous_text=False
    )
    return " ".join(segment.text for segment in segments)


def _in_common(wanted: str, found: str) -> float:
    """The share of the words wanted that are found, in their order."""
    expected, actual = (re.sub(r"[^a-z' ]", " ", text.lower()).split() for text in (wanted, found))
    blocks = SequenceMatcher(None, expected, actual, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(1, len(expected))
