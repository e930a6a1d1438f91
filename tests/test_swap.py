"""The benchmark of a voice that is replaced while it speaks."""

from pathlib import Path

import pytest

from loadtest.swap import Heard, report


def test_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    swapped = Heard(2, [400.0, 600.0], [40.0], ["no sound came"], [1800.0])
    result = report(tmp_path, swapped, Heard(1, [450.0]), 3)
    assert (result["swap_ms"]["p95"], result["first_sound_ms"]["max"], result["underrun_ms"]["n"]) == (1800.0, 600.0, 1)
    assert (result["answers"], result["failed"], result["without_swaps"]["n"]) == (2, 1, 1)
    assert "3 calls, 1 swaps" in capsys.readouterr().out
    assert (tmp_path / "swap.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "swap.json").exists()
