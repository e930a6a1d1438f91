"""A conversation with the system itself, which hears and speaks in tones here. No time is judged."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interjection import INTERJECTION
from tests.system import ROOT, System

pytestmark = pytest.mark.timeout(400)

CASES = f"""
cases:
  - name: question
    turns: [{{say: "what time is it"}}]
  - name: interrupted
    turns:
      - say: "tell me a long story about everything that you know"
        over: [{{kind: interruption, after_ms: 300, sound: "{INTERJECTION}"}}]
"""


async def conversation(url: str, transport: str, folder: Path) -> dict[str, Any]:
    """What its last line says."""
    (folder / "cases.yaml").write_text(CASES)
    words = ["--url", url, "--transport", transport, "--config", "configs/demo.yaml", "--out", str(folder)]
    program = [sys.executable, "-m", "loadtest.conversation", *words, "--cases", str(folder / "cases.yaml")]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdout=pipe, stderr=pipe, cwd=ROOT)
    out, err = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, err.decode()
    said: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return said


def check(said: dict[str, Any], folder: Path, transport: str, row: str = "") -> None:
    assert said[f"{row}failed"] == 0
    assert said[f"{row}voice_to_voice_ms"]["n"] == 2
    assert said[f"{row}unanswered"] == {"happened": 0, "chances": 2}
    assert said[f"{row}server_first_token_ms"]["n"] >= 2
    assert said[f"{row}transcript_told_ms"]["n"] >= 2
    takes = json.loads((folder / f"conversation_{transport}.json").read_text())["takes"]
    assert any("understood: " in line for line in takes[0]["words"])


async def test_in_a_room_and_then_over_the_socket(demo_rooms: System, tmp_path: Path) -> None:
    said = await conversation(demo_rooms.url, "both", tmp_path)
    check(said, tmp_path, "room")
    check(said, tmp_path, "socket", "socket_")
    assert said["concealed_ms"]["n"] == 2
    assert (said["socket_concealed_ms"]["n"], said["transport"]) == (0, "both")


async def test_over_the_socket(demo_url: str, tmp_path: Path) -> None:
    check(await conversation(demo_url, "socket", tmp_path), tmp_path, "socket")
