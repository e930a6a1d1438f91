"""One download over HTTP: streamed to a file, taken up again where it broke off."""

import hashlib
import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import certifi
import httpx

from deployments.errors import BadModel
from deployments.store_options import StoreOptions
from deployments.store_sources import Remote

Received = Callable[[int, int | None], None]
"""Told (bytes here, bytes in all or None) while a download runs."""

LONGEST_WAIT_S = 10.0


class _Again(Exception):
    """Something that another attempt may cure. The message says what."""


def download(remote: Remote, part: Path, options: StoreOptions, received: Received, stop: threading.Event) -> Path:
    """Bring `part` to its full length and make sure that it is what was expected. Blocking.

    A cut connection, a stall or a 5xx is tried again, from the byte reached; what counts is `attempts` in a row that
    bring nothing new. Raises BadModel, also when `stop` is set (the partial file stays for the next time).
    """
    with _client(remote, options) as client:
        resumed = _size(part) > 0
        _complete(client, remote, part, options, received, stop)
        found = sha256_of(part)
        if resumed and remote.sha256 not in (None, found):
            # The beginning was from some other time, when the file may have been another one: once more, whole.
            part.unlink()
            _complete(client, remote, part, options, received, stop)
            found = sha256_of(part)
    if remote.sha256 not in (None, found):
        part.unlink()
        raise BadModel(f"{remote.label}: sha256 expected {remote.sha256}, found {found}")
    return part


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _complete(
    client: httpx.Client, remote: Remote, part: Path, options: StoreOptions, received: Received, stop: threading.Event
) -> None:
    reached, fruitless = _size(part), 0
    while True:
        try:
            _stream(client, remote, part, received, stop)
            return
        except (httpx.HTTPError, _Again) as cut:
            fruitless = 0 if _size(part) > reached else fruitless + 1
            reached = max(reached, _size(part))
            if fruitless >= options.attempts:
                reason = str(cut) or type(cut).__name__
                raise BadModel(f"{remote.label} cannot be downloaded from {_host(remote)}: {reason}") from cut
            if stop.wait(min(LONGEST_WAIT_S, options.retry_wait_s * 2.0 ** max(0, fruitless - 1))):
                raise _stopped(remote) from cut


def _stream(client: httpx.Client, remote: Remote, part: Path, received: Received, stop: threading.Event) -> None:
    have = _size(part)
    # A compressed answer could not be taken up in the middle.
    headers = {"Accept-Encoding": "identity", **remote.headers, **({"Range": f"bytes={have}-"} if have else {})}
    with client.stream("GET", remote.url, headers=headers) as answer:
        if answer.status_code == 416 and have:
            if answer.headers.get("Content-Range") == f"bytes */{have}":
                received(have, have)
                return
            part.unlink()  # longer than the file is now: not a beginning of it
            raise _Again("the file on the server became shorter")
        _check_status(answer, remote)
        start = have if answer.headers.get("Content-Range", "").startswith(f"bytes {have}-") else 0
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else remote.size_bytes
        if remote.size_bytes not in (None, total):
            raise BadModel(f"{remote.label}: size expected {remote.size_bytes} bytes, found {total}")
        with part.open("ab" if start else "wb") as file:
            received(start, total)
            for chunk in answer.iter_raw():
                if stop.is_set():
                    raise _stopped(remote)
                start += file.write(chunk)
                received(start, total)


def _check_status(answer: httpx.Response, remote: Remote) -> None:
    status = answer.status_code
    if status in (408, 425, 429) or status >= 500:
        raise _Again(f"HTTP {status}")
    if status == 206 or status == 200:
        return
    hint = " (is a token or a mirror's password missing?)" if status in (401, 403) else ""
    raise BadModel(f"{remote.label} cannot be downloaded from {_host(remote)}: HTTP {status}{hint}")


def _client(remote: Remote, options: StoreOptions) -> httpx.Client:
    """Proxies and certificates as pip and the environment say."""
    return httpx.Client(
        verify=_trust(remote.certificates),
        proxy=remote.proxy,
        follow_redirects=True,
        timeout=httpx.Timeout(options.stall_timeout_s, connect=options.connect_timeout_s),
    )


def _trust(certificates: str | None) -> ssl.SSLContext:
    named = certificates or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    if named:
        is_folder = Path(named).is_dir()
        return ssl.create_default_context(cafile=None if is_folder else named, capath=named if is_folder else None)
    context = ssl.create_default_context()  # the system's, or SSL_CERT_FILE and SSL_CERT_DIR
    if not os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(certifi.where())  # some Pythons come without the system's
    return context


def _stopped(remote: Remote) -> BadModel:
    return BadModel(f"{remote.label}: the download was stopped; the next one goes on from here")


def _host(remote: Remote) -> str:
    return httpx.URL(remote.url).host


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
