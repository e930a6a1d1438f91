"""The page in Chromium, with a recording as its microphone: what several tests do with it."""

import base64
import re
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, TimeoutError

from deployments.audio import to_pcm
from deployments.contracts import Pcm
from tests.browser.conftest import launch

RATE_HZ = 48_000  # of the microphone
SILENT = 66  # -54 dBFS
READY = "window.antiphon !== undefined"
RECORDING = """(async () => {
    const { toBase64 } = await import("/pcm.js");
    const { samples, rate_hz } = antiphon.recording();
    return [toBase64(samples), rate_hz]; // as a list of numbers it would take seconds to get here
})()"""


def recording(path: Path, sound: Pcm, *, lead_s: float = 1.5, tail_s: float = 60.0) -> Path:
    """A microphone that hears silence, `sound` (int16[n] at 48 kHz), and silence."""
    lead, tail = (np.zeros(int(RATE_HZ * seconds), np.int16) for seconds in (lead_s, tail_s))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.concatenate([lead, sound, tail]).tobytes())
    return path


@contextmanager
def opened(
    playwright: Any,
    chromium: str,
    url: str,
    microphone: Path | None = None,
    *,
    excused: str = "",
    ready: str = READY,
    **context: Any,
) -> Iterator[Page]:
    """The page, which must not have complained in its console by the end. `excused`: a pattern of what it may say;
    `ready`: an expression that is true once the page is there."""
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    if microphone is not None:
        fake.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
    browser = launch(playwright, chromium, *fake)
    complaints: list[str] = []
    try:
        page = browser.new_context(**context).new_page()
        page.set_default_timeout(60_000)
        page.on("console", lambda said: complaints.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        pending = _pending(page)
        page.goto(url)
        try:
            page.wait_for_function(ready)
        except TimeoutError as late:
            raise AssertionError(f"{url} is not ready; it said {complaints}, and waits for {sorted(pending)}") from late
        yield page
        page.goto("about:blank")  # the page takes its leave: a caller who vanishes is waited for
    finally:
        browser.close()
    assert [said for said in complaints if not (excused and re.search(excused, said))] == []


def _pending(page: Page) -> set[str]:
    """Addresses that the page has asked for and not got, as long as it lives."""
    pending: set[str] = set()
    page.on("request", lambda request: pending.add(request.url))
    page.on("requestfinished", lambda request: pending.discard(request.url))
    return pending


def unprocessed(page: Page) -> None:
    """The microphone's sound as it is: what takes noise out of speech takes tones for noise."""
    page.locator("#sound summary").click()
    page.get_by_label("Remove echo and noise").uncheck()


def talk(page: Page) -> None:
    """Begin, and let the microphone's recording be heard from its beginning, however long the connection took."""
    clean = page.get_by_label("Remove echo and noise")
    wanted = clean.is_checked()
    page.locator("#sound").evaluate("(details) => (details.open = true)")
    page.evaluate("antiphon.startRecording()")
    page.get_by_role("button", name="Start talking").click()
    page.get_by_role("button", name="Mute").click()
    page.wait_for_function("antiphon.connection === 'open'")
    clean.set_checked(not wanted)  # each time the microphone is opened anew, and its recording begins again
    clean.set_checked(wanted)
    page.get_by_role("button", name="Mute").click()


def wait_until_answered(page: Page) -> None:
    page.wait_for_function("antiphon.lastTimeline !== null && antiphon.playedMs > 0 && antiphon.state === 'idle'")
    page.wait_for_timeout(300)  # the last of the recording is on its way from the worklet


def played(page: Page) -> tuple[Pcm, int]:
    """What the page gave to the speaker: int16[n], and its rate in Hz."""
    text, rate_hz = page.evaluate(RECORDING)
    return to_pcm(np.frombuffer(base64.b64decode(text), np.float32)), int(rate_hz)


def like(said: str, heard: str) -> float:
    """How much of the letters of `said` was heard, from 0 to 1. What separates words is no more than a silence, and
    a busy machine's room may lose a letter."""
    wanted, got = ("".join(letter for letter in text.lower() if letter.isalnum()) for text in (said, heard))
    blocks = SequenceMatcher(None, wanted, got, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(1, len(wanted))


def stays_silent(page: Page) -> bool:
    """From now on nothing is given to the speaker. What was given before may still be on its way into the recording."""
    first, rate_hz = len(played(page)[0]), played(page)[1]
    late, enough = rate_hz // 4, rate_hz * 3 // 4
    page.wait_for_function(f"antiphon.recording().samples.length > {first + enough}", polling=100)
    return int(np.abs(played(page)[0][first + late :]).max()) < SILENT


def words_of(page: Page, role: str) -> list[str]:
    return [entry["text"] for entry in page.evaluate("antiphon.transcript") if entry["role"] == role]
