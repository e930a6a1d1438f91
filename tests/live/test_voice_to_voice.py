"""The benchmark runs, and its figures belong together. No time is judged."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from deployments import tones
from loadtest.wav import write_wav
from tests.system import ROOT

pytestmark = pytest.mark.timeout(400)


async def test_the_report_is_complete(demo_url: str, tmp_path: Path) -> None:
    for index, text in enumerate(("what time is it", "tell me a story")):
        write_wav(tmp_path / "speech" / f"{index}.wav", tones.encode(text, 24_000))
    words = ["--url", demo_url, "--config", "configs/demo.yaml", "--turns", "2"]
    words += ["--speech", str(tmp_path / "speech"), "--out", str(tmp_path / "out")]
    program = [sys.executable, "-m", "loadtest.voice_to_voice", *words]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdout=pipe, stderr=pipe, cwd=ROOT)
    out, err = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, err.decode()
    result = json.loads(out.decode().splitlines()[-1])
    for name in ("voice_to_voice_ms", "floor_ms", "overhead_ms"):
        assert set(result[name]) == {"p50", "p90", "p95", "max", "n"}
        assert result[name]["n"] == 2
    assert result["failed_turns"] == 0
    assert result["voice_to_voice_ms"]["p50"] > result["floor_ms"]["p50"] > 0
    saved = json.loads((tmp_path / "out" / "voice_to_voice.json").read_text())
    for turn in saved["turns"]:
        parts = turn["floor_ms"] + turn["waited_ms"] + turn["overhead_ms"]
        assert turn["voice_to_voice_ms"] == pytest.approx(parts, abs=0.5)
        assert turn["heard"] in ("what time is it", "tell me a story")
    assert {"turn_judged", "transcript_ready", "first_frame_sent"} <= set(saved["moments"])
    assert (tmp_path / "out" / "voice_to_voice.png").read_bytes().startswith(b"\x89PNG")
