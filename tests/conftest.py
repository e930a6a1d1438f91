"""Systems that run once for all the tests that ask for them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system import System, running


@pytest.fixture(scope="session")
def demo() -> Iterator[System]:
    """configs/demo.yaml, running."""
    with tempfile.TemporaryDirectory() as folder, running("configs/demo.yaml", Path(folder)) as system:
        yield system


@pytest.fixture(scope="session")
def local() -> Iterator[System]:
    """configs/local.yaml, running: the real models."""
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
