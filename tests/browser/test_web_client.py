"""What the page joins rooms with, fetched at set-up."""

from pathlib import Path

import pytest

from serve_app import web_client
from serve_app.web_client import FOLDER, KEPT, NotFetched, ensure, integrity


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither npm nor pip brings anything."""
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")


def test_hashes_are_written_as_npm_writes_them() -> None:
    # The hash of nothing, as everybody knows it.
    assert integrity(b"").startswith(
        "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoG"
    )


def test_what_is_there_is_looked_at_and_not_fetched_again(livekit_client: None, offline: None, tmp_path: Path) -> None:
    ensure(FOLDER)
    for name in KEPT:
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    ensure(tmp_path)
    with (tmp_path / "livekit-client.js").open("ab") as file:
        file.write(b"//")
    with pytest.raises(NotFetched):
        ensure(tmp_path)


def test_another_package_is_refused(monkeypatch: pytest.MonkeyPatch, livekit_client: None, tmp_path: Path) -> None:
    monkeypatch.setattr(web_client, "INTEGRITY", integrity(b"another one"))
    with pytest.raises(NotFetched, match="another hash"):
        ensure(tmp_path / "web")
    assert not (tmp_path / "web").exists()


def test_set_up_goes_on_without_it(offline: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert web_client.main(tmp_path / "web") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("The page will use its WebSocket and no LiveKit room")
