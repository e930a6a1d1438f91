"""Chromium for the tests of the page. Where it is missing they fail, unless the person says that it may be."""

import os
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from loadtest.browser import HOW_TO_HAVE_ONE, path_of_chromium
from serve_app.web_client import FOLDER, KEPT
from tests.system import ROOMS_OFF, System

WEB = Path(__file__).parents[2] / "serve_app" / "web"
WITHOUT = "WITHOUT_BROWSER"
ROOMS_S = 60.0


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    found = path_of_chromium()
    if found is not None:
        return found
    if os.environ.get(WITHOUT) == "1":
        pytest.skip(f"THE PAGE IS NOT TESTED: there is no Chromium, and {WITHOUT}=1 says to go on without one")
    pytest.fail(
        f"The tests of the page need Chromium: {HOW_TO_HAVE_ONE}, or set {WITHOUT}=1 to go on without these tests."
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


# --- the two ways from the page to the agent


@pytest.fixture(scope="session")
def livekit_client() -> None:
    """The page can join rooms."""
    if ROOMS_OFF:
        pytest.skip("ROOMS ARE NOT TESTED: WITHOUT_ROOMS=1 says to go on without them")
    if not all((FOLDER / name).is_file() for name in KEPT):
        pytest.fail(
            "The page cannot join rooms: livekit-client is not beside it. `make install-dev` fetches it, and says why "
            "where it cannot. WITHOUT_ROOMS=1 goes on without these tests."
        )


@pytest.fixture(scope="session")
def room_url(demo: System, livekit_client: None) -> str:
    """The page of the system without models, in a room and no other way."""
    wait_for_rooms(demo.url)
    return f"{demo.url}/?transport=room"


@pytest.fixture(scope="session")
def socket_url(demo: System) -> str:
    """The same on the socket, and no other way."""
    return f"{demo.url}/?transport=socket"


@pytest.fixture(params=["room", "socket"])
def either_url(request: pytest.FixtureRequest) -> str:
    """Both of them, one after the other."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


def wait_for_rooms(url: str) -> None:
    """Rooms may come later than the rest."""
    deadline = time.monotonic() + ROOMS_S
    while (rooms := httpx.get(f"{url}/ready", timeout=30.0).json()["rooms"])["state"] != "connected":
        assert time.monotonic() < deadline, rooms
        time.sleep(0.2)
