"""Replicas that come and go under calls, a node that joins and is drained, in a real Serve. The model is synthetic."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from deployments import tones
from deployments.tts.synthetic import RATE_HZ
from tests.cluster.growing import LONG, PHRASE
from tests.system import ROOT

STORY_S = 150.0
STOP_S = 20.0
VARIABLES = {
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
    "RAY_worker_niceness": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a thread of Serve's would connect again after the end, and then it fails
}


@pytest.fixture(scope="module")
def story() -> Iterator[dict[str, Any]]:
    """What happened in `tests.cluster.growing`. The folder's name is short: Ray's sockets lie in it."""
    with tempfile.TemporaryDirectory(prefix="grow") as folder:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.growing", folder],
            cwd=ROOT,
            env={**os.environ, **VARIABLES},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            printed, _ = process.communicate(timeout=STORY_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=STOP_S)
            raise
        finally:
            process.kill()
        assert process.returncode == 0, "the lines above say why"
        yield json.loads(printed.splitlines()[-1])


def test_calls_alone_make_room_for_as_many_as_will_speak(story: dict[str, Any]) -> None:
    """The requests of the six who speak need two replicas, or three with headroom; all four come for the calls."""
    assert story["at_first"] == 1
    assert story["most"] == 4


def test_a_node_that_joins_under_calls_takes_some_of_them(story: dict[str, Any]) -> None:
    assert story["before_it_joined"] == 2  # so many GPUs there were
    assert story["worked_there_s"] > 0
    assert story["phrases_meanwhile"] > 0


def test_a_node_that_is_drained_under_calls_ends_what_it_speaks_and_gets_no_more(story: dict[str, Any]) -> None:
    assert story["drained_while_open"] == 2 * 4
    assert story["asked_then"] == [False] * 20
    assert story["cut"] == 0


def test_a_replica_that_goes_ends_what_it_speaks(story: dict[str, Any]) -> None:
    assert story["went_while_open"] > 0
    assert story["draining"] > 0
    assert story["cut"] == 0
    assert set(story["long_samples"]) == {len(tones.encode(LONG, RATE_HZ))}
    assert set(story["phrase_samples"]) == {len(tones.encode(PHRASE, RATE_HZ))}


def test_without_calls_the_fewest_are_left(story: dict[str, Any]) -> None:
    assert story["at_last"] == 1
