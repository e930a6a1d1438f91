"""What is understood over the socket, at real-time pace, against plain faster-whisper with the same weights."""

import asyncio
from pathlib import Path

import pytest

from loadtest.caller import RealtimeCaller
from loadtest.statistics import WordErrors, word_errors
from loadtest.wav import read_speech
from tests.live.test_call_command import recordings, transcribe

pytestmark = pytest.mark.timeout(600)


BRIEF = {"max_output_tokens": 4}
"""Nobody listens to the answer."""
PATIENT = BRIEF | {"audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 1500}}}}
"""For a speaker who pauses for over a second inside a sentence: judged over there, each piece is understood alone,
without what comes after it, which is another question than how well the audio arrives."""


AT_ONCE = 2
"""So many are on the telephone; that they are heard apart is a matter of other tests."""


async def heard(url: str, path: Path, free: asyncio.Semaphore) -> str:
    """By the system, in a call of its own."""
    session = PATIENT if path.name == "jfk.flac" else BRIEF
    async with free, RealtimeCaller(url, session=session) as caller:
        await caller.say(read_speech(path))
        return (await caller.answer(150)).heard


async def test_as_many_words_are_understood_as_by_whisper_alone(local_url: str) -> None:
    """Within half a point of word error rate. Turns that the server ended in a pause are taken together: what counts
    is which words arrived."""
    ours, plain = WordErrors(0, 0), WordErrors(0, 0)
    said = sorted(recordings(), key=lambda each: each[0].stat().st_size, reverse=True)  # the longest first
    free = asyncio.Semaphore(AT_ONCE)
    understood = await asyncio.gather(*(heard(local_url, path, free) for path, _ in said))
    for (path, text), words in zip(said, understood, strict=True):
        alone = transcribe(read_speech(path, 16_000).tobytes())
        expected = text or alone
        ours, plain = ours + word_errors(expected, words), plain + word_errors(expected, alone)
        print(f"{path.name:<16} socket {word_errors(expected, words).rate:6.1%}  {words}")
        print(f"{'':<16} plain  {word_errors(expected, alone).rate:6.1%}  {alone}")
    print(f"{'all':<16} socket {ours.rate:6.1%} ({ours.errors} of {ours.words}), plain {plain.rate:6.1%}")
    assert ours.words > 20
    assert ours.rate <= plain.rate + 0.005
