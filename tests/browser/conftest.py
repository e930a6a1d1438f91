"""Chromium for the tests of the page. Where it is missing they fail, unless the person says that it may be."""

import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

WEB = Path(__file__).parents[2] / "serve_app" / "web"
WITHOUT = "WITHOUT_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is not None:
        return found
    if os.environ.get(WITHOUT) == "1":
        pytest.skip(f"THE PAGE IS NOT TESTED: there is no Chromium, and {WITHOUT}=1 says to go on without one")
    pytest.fail(
        "The tests of the page need Chromium: `apt-get install chromium`, or put its path into CHROMIUM, "
        f"or set {WITHOUT}=1 to go on without these tests."
    )


def launch(playwright: Any, chromium: str, *arguments: str) -> Browser:
    """A headless browser that plays sound without having been clicked."""
    always = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
    browser: Browser = playwright.chromium.launch(executable_path=chromium, args=[*always, *arguments])
    return browser


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    with sync_playwright() as started:
        yield started


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def static_url() -> Iterator[str]:
    """The page's files and no server behind them."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(WEB)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
