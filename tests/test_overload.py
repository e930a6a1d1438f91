"""The overload benchmark: who got in, who did not, and how both fared."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from loadtest import overload
from loadtest.overload import Visit, report, round_of_calls


def visits(*waits_ms: float, refused: int = 0) -> list[Visit]:
    let_in = [Visit(float(index), voice_to_voice_ms=[ms]) for index, ms in enumerate(waits_ms)]
    return [*let_in, *(Visit(9.0, 20.0 + index, "at capacity") for index in range(refused))]


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = visits(440, 440, refused=3)
    twice[1].failed.append("no sound came")
    result = report(tmp_path, visits(400, 400), twice)
    assert (result["accepted"], result["refused"], result["p95_ratio"]) == (2, 3, 1.1)
    assert result["refused_after_ms"]["max"] == 22
    assert result["failed_turns"] == {"as_planned": 0, "overloaded": 1}
    assert result["reasons"] == ["at capacity"]
    assert "2 of 5 got in, 3 were refused: at capacity" in capsys.readouterr().out
    assert (tmp_path / "overload.json").exists()
    assert (tmp_path / "overload.png").read_bytes().startswith(b"\x89PNG")


def test_where_nobody_was_answered_there_is_no_ratio(tmp_path: Path) -> None:
    assert report(tmp_path, visits(refused=1), visits(refused=2))["p95_ratio"] is None


async def test_who_is_refused_is_told_from_who_is_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first caller gets in and is hung up on; the other ones are turned away."""
    monkeypatch.setattr(overload, "ARRIVE_S", 0.3)
    let_in = asyncio.Event()

    async def answer(caller: ServerConnection) -> None:
        if let_in.is_set():
            await caller.close(1013, "at capacity: 1 call is under way")
            return
        let_in.set()
        await caller.send('{"type": "session.created", "session": {}}')
        for _ in range(5):
            await caller.recv()

    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        found = await round_of_calls(f"ws://127.0.0.1:{port}/", 3, 1, [np.ones(2400, np.int16)])
    assert [visit.refused_ms is None for visit in found] == [True, False, False]
    assert found[0].failed
    assert "at capacity: 1 call is under way" in found[1].reason
