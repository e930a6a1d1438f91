"""A LiveKit server and systems that run once for all the tests that ask for them.

Where no LiveKit server can be had those tests fail, unless the person says that they may be left out.
"""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from loadtest.room_ticket import Keys
from serve_app.livekit_server.binary import NoLiveKitServer, obtain
from serve_app.livekit_server.local import LocalLiveKit
from tests.system import ROOMS_OFF, ROOT, System, running

signal.signal(signal.SIGINT, signal.default_int_handler)
"""Where these tests are a background job of a script, they and all that they start would be deaf to Ctrl-C."""

settings.register_profile("behaviour", deadline=None)
settings.load_profile("behaviour")
"""How long an example takes says more about what else this machine does than about the example."""

NEED_IT = (ROOT / "tests" / "live", ROOT / "tests" / "browser")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where the program must be built first, that takes minutes: not within the time of whichever test comes first."""
    wanted = any("livekit_program" in getattr(item, "fixturenames", ()) for item in session.items)
    started = any(folder in item.path.parents for item in session.items for folder in NEED_IT)
    if (wanted or started) and not ROOMS_OFF and not session.config.option.collectonly:
        try:
            obtain(lambda line: print(line, flush=True), threading.Event())
        except NoLiveKitServer as why:
            print(f"no LiveKit server: {why}", flush=True)


@pytest.fixture(scope="session")
def livekit_program() -> Path:
    """The LiveKit server's program."""
    if ROOMS_OFF:
        pytest.skip("ROOMS ARE NOT TESTED: WITHOUT_ROOMS=1 says to go on without a LiveKit server")
    try:
        return obtain(print, threading.Event())
    except NoLiveKitServer as why:
        pytest.fail(
            f"The tests of rooms need a LiveKit server, and {why}. WITHOUT_ROOMS=1 goes on without these tests."
        )


@pytest.fixture(scope="session")
def livekit(livekit_program: Path) -> Iterator[LocalLiveKit]:
    """A LiveKit server, running."""
    with tempfile.TemporaryDirectory() as folder:
        server = LocalLiveKit(Path(os.environ.get("LIVEKIT_LOG", f"{folder}/livekit.log")))
        server.start(livekit_program)
        try:
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="session")
def livekit_keys(livekit: LocalLiveKit) -> Keys:
    """Its address and keys."""
    return Keys(livekit.url, livekit.api_key, livekit.api_secret)


# --- systems that run once for all the tests that ask for them


@pytest.fixture(scope="session")
def demo(request: pytest.FixtureRequest) -> Iterator[System]:
    """configs/demo.yaml, running, with rooms on the LiveKit server of the tests."""
    keys: Keys | None = None if ROOMS_OFF else request.getfixturevalue("livekit_keys")
    with tempfile.TemporaryDirectory() as folder, running("configs/demo.yaml", Path(folder), keys) as system:
        yield system


@pytest.fixture(scope="session")
def demo_rooms(livekit_keys: Keys, demo: System) -> System:
    """The same, for tests that are nothing without rooms."""
    return demo


@pytest.fixture(scope="session")
def local() -> Iterator[System]:
    """configs/local.yaml, running: the real models, and a LiveKit server of its own."""
    with tempfile.TemporaryDirectory() as folder, running("configs/local.yaml", Path(folder)) as system:
        yield system


@pytest.fixture(scope="session")
def demo_url(demo: System) -> str:
    """http://127.0.0.1:PORT of the system without models."""
    return demo.url


@pytest.fixture(scope="session")
def local_url(local: System) -> str:
    """http://127.0.0.1:PORT of the system with real models."""
    return local.url
