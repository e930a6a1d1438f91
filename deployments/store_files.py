"""The files of one model on disk: which of them are known to be good, and how a new one gets there."""

import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from deployments.errors import BadModel
from deployments.store_download import sha256_of
from deployments.store_options import FileSpec
from deployments.store_pieces import Piece

CHUNK_BYTES = 1 << 20  # of a file being unpacked; large enough that Python costs nothing beside the disk

Mark = tuple[int, int, str]  # size in bytes, mtime in ns, sha256 of what was there then


class Folder:
    """A model's folder. Every file in it was verified before it got its name (os.replace), and `.verified.json`
    remembers size, mtime and hash, so that the next start need not hash it again.

    Only `is_complete` may be called without the model's lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marker = path / ".verified.json"

    def is_complete(self, files: Mapping[str, FileSpec]) -> bool:
        marks = self._marks()
        return all(
            name in marks and _mark(self.path / name, file.sha256) == marks[name] for name, file in files.items()
        )

    def missing(self, files: Mapping[str, FileSpec]) -> dict[str, FileSpec]:
        """The files that have to be pulled. Those that are there but not known as they are now are hashed."""
        return {name: file for name, file in files.items() if not self._confirmed(name, file)}

    def link(self, piece: Piece, original: Path) -> None:
        """`original` under this name: large files of the user are not copied."""
        if not original.is_file():
            raise BadModel(f"{self._label(piece.name)}: there is no file {original}")
        self._check(piece, original)
        fresh = self._fresh(piece.name)
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(original)
        self._keep(piece, fresh)

    def adopt(self, piece: Piece, downloaded: Path) -> None:
        """A finished download, moved here. It must be on the same file system."""
        self._check(piece, downloaded)
        self._keep(piece, downloaded)

    def extract(self, piece: Piece, wheel: Path, member: str) -> None:
        """A file out of a wheel (a zip archive). Raises zipfile.BadZipFile or zlib.error where the wheel is broken."""
        fresh = self._fresh(piece.name)
        with zipfile.ZipFile(wheel) as archive:
            if member not in archive.namelist():
                near = get_close_matches(member, archive.namelist(), n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise BadModel(f"{self._label(piece.name)}: no {member!r} in {wheel.name}{hint}")
            if piece.is_whole:  # before gigabytes are unpacked for nothing
                _refuse_other(self._label(piece.name), piece.file, archive.getinfo(member).file_size, piece.file.sha256)
            with archive.open(member) as packed, fresh.open("wb") as out:
                shutil.copyfileobj(packed, out, CHUNK_BYTES)
        try:
            self._check(piece, fresh)
        except BadModel:
            fresh.unlink()
            raise
        self._keep(piece, fresh)

    def join(self, name: str, file: FileSpec) -> None:
        """Make one file of its parts, all of which are here."""
        parts, fresh = [self._part(name, index) for index in range(len(file.source))], self._fresh(name)
        with fresh.open("wb") as out:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, out, CHUNK_BYTES)
                part.unlink()
        try:
            _refuse_other(self._label(name), file, fresh.stat().st_size, sha256_of(fresh))
        except BadModel:
            fresh.unlink()
            raise
        self._install(name, file, fresh)

    def _check(self, piece: Piece, path: Path) -> None:
        """Nothing is known about a part; `join` checks the whole."""
        if piece.is_whole:
            _refuse_other(self._label(piece.name), piece.file, path.stat().st_size, sha256_of(path))

    def _keep(self, piece: Piece, fresh: Path) -> None:
        if piece.is_whole:
            self._install(piece.name, piece.file, fresh)
        else:
            os.replace(fresh, self._part(piece.name, piece.index))

    def _confirmed(self, name: str, file: FileSpec) -> bool:
        path = self.path / name
        before = _mark(path, file.sha256)
        if before is None or before[0] != file.size_bytes:
            return False
        if before != self._marks().get(name):
            if sha256_of(path) != file.sha256:
                return False
            self._remember(name, before)
        return True

    def _install(self, name: str, file: FileSpec, fresh: Path) -> None:
        if not fresh.is_symlink():
            with fresh.open("rb") as written:
                os.fsync(written.fileno())  # or a power cut could leave the name without the content
        mark = _mark(fresh, file.sha256)
        os.replace(fresh, self.path / name)
        if mark:
            self._remember(name, mark)

    def _remember(self, name: str, mark: Mark) -> None:
        fresh = self._fresh(self._marker.name)
        fresh.write_text(json.dumps({**self._marks(), name: mark}, indent=1), encoding="utf-8")
        os.replace(fresh, self._marker)

    def _marks(self) -> dict[str, Mark]:
        """What the marker says; one that is missing or broken says nothing, and the files are hashed again."""
        try:
            stored = json.loads(self._marker.read_text(encoding="utf-8"))
            return {str(name): (int(size), int(mtime_ns), str(sha)) for name, (size, mtime_ns, sha) in stored.items()}
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError, AttributeError):
            return {}

    def _fresh(self, name: str) -> Path:
        """Where a file grows before it has its name. The model's lock keeps others away from it."""
        return self.path / f".{name}.new"

    def _part(self, name: str, index: int) -> Path:
        return self.path / f".{name}.part{index + 1}"

    def _label(self, name: str) -> str:
        return f"{self.path.name}: {name}"


def _mark(path: Path, sha256: str) -> Mark | None:
    """As `path` is now (a link is followed); None if there is nothing."""
    try:
        now = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return now.st_size, now.st_mtime_ns, sha256


def _refuse_other(label: str, file: FileSpec, size_bytes: int, sha256: str) -> None:
    if size_bytes != file.size_bytes:
        raise BadModel(f"{label}: size expected {file.size_bytes} bytes, found {size_bytes} ({_origin(file)})")
    if sha256 != file.sha256:
        raise BadModel(f"{label}: sha256 expected {file.sha256}, found {sha256} ({_origin(file)})")


def _origin(file: FileSpec) -> str:
    return " + ".join(file.source)


BrokenWheel = (zipfile.BadZipFile, zlib.error, EOFError)
