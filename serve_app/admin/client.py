"""How the commands reach /api/admin: where, with which key, and what they say when it does not answer."""

import argparse
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

KEY_VARIABLE = "ANTIPHON_ADMIN__API_KEY"
DEFAULT_URL = "http://127.0.0.1:8000"
MARGIN_S = 30.0


class AdminRefused(RuntimeError):
    """The system said no, or nothing. One sentence."""


def add_access(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    """`again`: below a command that has these already, so that they may stand before or after its order."""
    given: dict[str, Any] = {"default": argparse.SUPPRESS} if again else {}
    url = {"default": DEFAULT_URL, **given}
    parser.add_argument("--url", metavar="URL", help=f"where Antiphon answers ({DEFAULT_URL})", **url)
    key = f"its admin key; else {KEY_VARIABLE}, or that of `antiphon up` on this machine"
    parser.add_argument("--key", metavar="KEY", help=key, **given)
    parser.add_argument("--json", action="store_true", help="print the answer as it came", **given)


def key_file(port: int) -> Path:
    """Where `antiphon up` leaves the key of a run, for its user alone."""
    from serve_app.supervisor import cache_folder

    return cache_folder() / "admin" / f"{port}.key"


def write_key(port: int, key: str) -> Path:
    path = key_file(port)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key)
    return path


class AdminClient:
    """Blocking; one request at a time."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        self._key = key or os.environ.get(KEY_VARIABLE) or _key_here(self.url)

    def get(self, path: str) -> Any:
        """Raises AdminRefused."""
        return self._asked("GET", path, None, MARGIN_S)

    def post(self, path: str, body: dict[str, Any], wait_s: float) -> Any:
        """Raises AdminRefused."""
        return self._asked("POST", path, body, wait_s + MARGIN_S)

    def _asked(self, method: str, path: str, body: dict[str, Any] | None, within_s: float) -> Any:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=within_s)
            found = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL) as wrong:
            raise AdminRefused(f"{self.url} does not answer: {wrong or type(wrong).__name__}") from wrong
        except ValueError as wrong:
            raise AdminRefused(
                f"{self.url}{path} answered {answer.status_code} and no JSON: is it Antiphon?"
            ) from wrong
        if answer.is_success:
            return found
        if answer.status_code in (401, 403):
            raise AdminRefused(f"{found['error']['message']}; give the key with --key or {KEY_VARIABLE}")
        said = found.get("error") or {"message": f"{answer.status_code} {answer.reason_phrase}"}
        raise AdminRefused(said["message"])


def _key_here(url: str) -> str | None:
    place = urlsplit(url)
    if place.hostname not in ("127.0.0.1", "localhost", "::1"):
        return None
    try:
        return key_file(place.port or 80).read_text()
    except OSError:
        return None
