"""A caller who vanishes in mid-answer costs nobody anything for longer than a second."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from deployments import tones
from loadtest.wav import write_wav
from tests.live.serve_counters import Counters, counting
from tests.system import System

PATIENCE_S = 60.0
WITHIN_S = 1.0
"""What is promised to a caller's neighbours."""


def speaking_to_nobody_soon(system: System, folder: Path) -> "subprocess.Popen[bytes]":
    """A caller in a process of its own, who asks for an answer of several seconds."""
    question = folder / "question.wav"
    write_wav(question, tones.encode("count to 200", 24_000), 24_000)
    url = f"{system.url.replace('http', 'ws')}/v1/realtime"
    words = ["-m", "serve_app.cli", "call", str(question), "--url", url]
    return subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)


def wait_until_answering(counters: Counters) -> dict[str, int]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        counts = counters.now()
        if counts["ingress"] and counts["llm"] and counts["tts"]:
            return counts
    raise AssertionError(f"nobody answered: {counts}")


@pytest.mark.timeout(300)
def test_no_stream_of_a_caller_who_vanished_runs_on(demo: System, tmp_path: Path) -> None:
    with counting(demo) as counters:
        counters.now()  # it has joined the cluster: from now on it answers sooner than an answer is over
        caller = speaking_to_nobody_soon(demo, tmp_path)
        try:
            wait_until_answering(counters)
        finally:
            caller.kill()
            caller.wait()
        time.sleep(WITHIN_S)
        counts = counters.now()
        counts.pop("rooms", None)  # each ingress replica's line to the room keeper is open all the time
        assert sum(counts.values()) == 0, counts
