"""A shop for the store's tests: a real HTTP server that can cut, stall, lie and forget Range; and what to buy there."""

import hashlib
import io
import os
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.store import FileSpec, ModelSpec, Store, StoreOptions

WEIGHTS = np.random.default_rng(7).bytes(3_000_000)
HALF = 1_400_000
DEADLINE_S = 60.0


class Shelf(ThreadingHTTPServer):
    """Files by path. Each GET is noted; a number in `cuts` ends one answer after so many bytes of its body."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.cuts: list[int] = []  # of answers that are longer
        self.failures: list[int] = []  # statuses of the next answers
        self.holds: tuple[int, threading.Event] | None = None  # after so many bytes wait for the event
        self.gets: list[tuple[str, str | None]] = []  # path, Range
        self.tokens: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self, ending: str) -> list[str | None]:
        """The Range headers of the requests for one file, in order."""
        return [asked for path, asked in self.gets if path.endswith(ending)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is what some tests want."""


class _Answer(BaseHTTPRequestHandler):
    server: Shelf

    def do_GET(self) -> None:
        shelf, asked = self.server, self.headers.get("Range")
        shelf.gets.append((self.path, asked))
        shelf.tokens.append(self.headers.get("Authorization"))
        body = shelf.files.get(self.path)
        if shelf.failures or body is None:
            self.send_response(shelf.failures.pop(0) if shelf.failures else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and shelf.ranges else 0
        self._head(start, len(body))
        self._body(memoryview(body)[start:])

    def _head(self, start: int, size: int) -> None:
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            size = start
        else:
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        kind = "text/html" if self.path.endswith("/") else "application/octet-stream"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size - start))
        self.end_headers()

    def _body(self, rest: memoryview) -> None:
        shelf = self.server
        if shelf.holds:
            after, event = shelf.holds
            self.wfile.write(rest[:after])
            self.wfile.flush()
            event.wait(DEADLINE_S)
            rest = rest[after:]
        self.wfile.write(rest[: shelf.cuts.pop(0)] if shelf.cuts and len(rest) > shelf.cuts[0] else rest)
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Told:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.total, self.licence, self.advances, self.is_finished = 0, "", list[int](), False
        self.notes: list[str] = []

    def started(self, total_bytes: int, label: str, licence: str) -> None:
        self.total, self.licence = total_bytes, licence

    def advanced(self, count: int) -> None:
        self.advances.append(count)

    def finished(self) -> None:
        self.is_finished = True

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(name="shelf")
def a_shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    shelf = Shelf()
    monkeypatch.setenv("HF_ENDPOINT", shelf.url)
    monkeypatch.setenv("HF_TOKEN", "hf_not_a_real_one")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    shelf.files["/acme/tiny/resolve/main/model.bin"] = WEIGHTS
    thread = threading.Thread(target=shelf.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield shelf
    if shelf.holds:
        shelf.holds[1].set()
    shelf.shutdown()
    shelf.server_close()
    thread.join()


@pytest.fixture(name="index")
def an_index(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """The same server as a package index, which the user's pip configuration names."""
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/model.bin", WEIGHTS)
        archive.writestr("tiny/config.json", "{}")
        metadata = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        archive.writestr("tiny-1.0.dist-info/METADATA", metadata)
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    name, digest = "tiny-1.0-py3-none-any.whl", hashlib.sha256(wheel.getvalue()).hexdigest()
    link = f'<a href="/files/{name}#sha256={digest}" data-core-metadata="true">{name}</a>'
    shelf.files |= {
        "/simple/tiny/": f"<!DOCTYPE html><html><body>{link}</body></html>".encode(),
        f"/files/{name}": wheel.getvalue(),
        f"/files/{name}.metadata": metadata.encode(),
    }
    monkeypatch.setenv("PIP_INDEX_URL", f"{shelf.url}/simple/")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return shelf


@pytest.fixture(name="store")
def a_store(tmp_path: Path) -> Store:
    return Store(cache_options(tmp_path))


def cache_options(tmp_path: Path, **changed: Any) -> StoreOptions:
    return StoreOptions(cache_dir=str(tmp_path / "models"), retry_wait_s=0.01, attempts=3, **changed)


def file_spec(source: str | list[str], content: bytes = WEIGHTS, **changed: Any) -> FileSpec:
    facts = {"source": source, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return FileSpec.model_validate({**facts, **changed})


def tiny(*files: FileSpec, id: str = "tiny") -> ModelSpec:
    names = ("model.bin", "config.json")
    named = dict(zip(names, files, strict=False)) or {"model.bin": file_spec("hf:acme/tiny@main/model.bin")}
    return ModelSpec(id=id, kind="llm", engine="synthetic", licence="MIT", files=named)


def parts(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "models").rglob("*.part"))
