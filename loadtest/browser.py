"""A headless Chromium whose microphone hears silence, and whose permission nobody is asked for."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from loadtest.wav import write_wav
from loadtest.wire import CallFailed

try:
    from playwright.async_api import Browser, async_playwright
except ImportError as missing:
    raise CallFailed("the page is opened with Playwright: pip install playwright") from missing

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HOW_TO_HAVE_ONE = "`apt-get install chromium`, or put its path into CHROMIUM"
ALWAYS = ("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SILENCE_S = 10  # Chromium plays it again and again


def path_of_chromium() -> str | None:
    """Whatever CHROMIUM says, else the first that is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Closed at the end. Raises `CallFailed` where there is none."""
    path = path_of_chromium()
    if path is None:
        raise CallFailed(f"the page is opened in Chromium, and there is none: {HOW_TO_HAVE_ONE}")
    with tempfile.TemporaryDirectory() as folder:
        microphone = Path(folder) / "silence.wav"
        write_wav(microphone, np.zeros(SILENCE_S * 48_000, np.int16), 48_000)
        async with async_playwright() as playwright:
            hears = f"--use-file-for-fake-audio-capture={microphone}"
            browser = await playwright.chromium.launch(executable_path=path, args=[*ALWAYS, hears])
            try:
                yield browser
            finally:
                await browser.close()
