"""How `antiphon up` comes to rooms: what the application is told, and what a person is."""

from pathlib import Path
from typing import Any

import pytest

from serve_app.livekit_server.choice import choose, is_loopback
from serve_app.settings import Settings

SERVER = {"url": "wss://rooms.example.org", "api_key": "key", "api_secret": "secret"}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("URL", "API_KEY", "API_SECRET"):
        monkeypatch.delenv(f"LIVEKIT_{name}", raising=False)
    monkeypatch.chdir(tmp_path)  # no .env


def settings(**livekit: Any) -> Settings:
    return Settings.model_validate({"livekit": livekit})


def test_without_an_address_there_is_a_server_of_its_own(tmp_path: Path) -> None:
    rooms = choose(settings(), "127.0.0.1", None, tmp_path / "log")
    assert rooms.own is not None
    assert rooms.url == rooms.own.url
    assert rooms.own.log == tmp_path / "log"
    assert rooms.variables == {
        "ANTIPHON_LIVEKIT__URL": rooms.own.url,
        "ANTIPHON_LIVEKIT__API_KEY": rooms.own.api_key,
        "ANTIPHON_LIVEKIT__API_SECRET": rooms.own.api_secret,
    }
    assert rooms.token_key is None
    [hint] = rooms.hints
    assert "tokens need no key" in hint


def test_what_it_is_told_is_what_the_application_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms = choose(settings(), "0.0.0.0", None, tmp_path / "log")
    for name, text in rooms.variables.items():
        monkeypatch.setenv(name, text)
    told = settings(api_key="other").livekit
    assert rooms.own is not None
    assert (told.url, told.api_key, told.api_secret) == (rooms.url, rooms.own.api_key, rooms.own.api_secret)
    assert told.token_api_key == rooms.token_key


def test_the_port_and_the_keys_may_be_chosen(tmp_path: Path) -> None:
    rooms = choose(settings(api_key="key", api_secret="secret"), "127.0.0.1", 7880, tmp_path / "log")
    assert rooms.own is not None
    assert rooms.url == "ws://127.0.0.1:7880"
    assert (rooms.own.api_key, rooms.own.api_secret) == ("key", "secret")


def test_half_a_pair_of_keys_is_none(tmp_path: Path) -> None:
    rooms = choose(settings(api_key="key"), "127.0.0.1", None, tmp_path / "log")
    assert rooms.own is not None
    assert rooms.own.api_key != "key"


def test_the_server_of_the_settings_is_used_as_it_is(tmp_path: Path) -> None:
    rooms = choose(settings(**SERVER, token_api_key="very secret"), "127.0.0.1", None, tmp_path / "log")
    assert (rooms.url, rooms.own, rooms.variables) == (SERVER["url"], None, {})
    assert (rooms.token_key, rooms.hints) == (None, ())


def test_callers_are_sent_to_the_public_address(tmp_path: Path) -> None:
    rooms = choose(settings(**SERVER, public_url="wss://public.example.org"), "127.0.0.1", None, tmp_path / "log")
    assert rooms.url == "wss://public.example.org"


def test_who_can_be_reached_from_elsewhere_asks_for_a_key(tmp_path: Path) -> None:
    rooms = choose(settings(**SERVER), "0.0.0.0", None, tmp_path / "log")
    assert rooms.token_key is not None
    assert len(rooms.token_key) >= 20
    assert rooms.variables == {"ANTIPHON_LIVEKIT__TOKEN_API_KEY": rooms.token_key}
    assert rooms.hints == ()
    again = choose(settings(**SERVER), "0.0.0.0", None, tmp_path / "log")
    assert again.token_key != rooms.token_key


def test_a_key_of_the_settings_stays(tmp_path: Path) -> None:
    rooms = choose(settings(**SERVER, token_api_key="very secret"), "0.0.0.0", None, tmp_path / "log")
    assert (rooms.token_key, rooms.variables) == (None, {})


def test_on_all_addresses_callers_must_be_told_one(tmp_path: Path) -> None:
    [hint] = choose(settings(), "0.0.0.0", None, tmp_path / "log").hints
    assert "livekit.public_url" in hint
    assert choose(settings(public_url="ws://here.example.org"), "0.0.0.0", None, tmp_path / "log").hints == ()


@pytest.mark.parametrize(
    ("host", "is_so"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.1", False),
        ("no such host", False),
    ],
)
def test_what_only_this_machine_reaches(host: str, is_so: bool) -> None:
    assert is_loopback(host) is is_so
