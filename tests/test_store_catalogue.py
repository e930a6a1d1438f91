"""The catalogue: the shipped models, the user's, and entries that are wrong."""

from pathlib import Path
from typing import Any

import pytest

from deployments.errors import BadModel
from deployments.store import Catalogue, StoreOptions
from deployments.store_sources import FileSource, HfSource, PypiSource, parse_source
from tests.shelf import file_spec


def test_the_shipped_models_are_complete() -> None:
    models = Catalogue.load().models.values()
    assert {spec.kind for spec in models} == {"asr", "llm", "tts", "turn", "vad"}
    files = [file for spec in models for file in spec.files.values()]
    assert all(isinstance(parse_source(part), PypiSource) for file in files for part in file.source)


def test_the_users_models_come_on_top() -> None:
    mine: dict[str, Any] = {"kind": "tts", "engine": "piper", "licence": "CC0-1.0"}
    mine |= {"files": {"model.onnx": file_spec("hf:acme/voice@v1/a/b.onnx").model_dump()}}
    catalogue = Catalogue.load({"my-voice": mine, "piper-joe": {**mine, "description": "mine"}})
    assert catalogue.get("my-voice", "tts").engine == "piper"
    assert catalogue.get("piper-joe").description == "mine"


@pytest.mark.parametrize(
    ("id", "kind", "message"),
    [
        (
            "whisper-tiny",
            "asr",
            "no model is called 'whisper-tiny'; did you mean 'whisper-tiny.en'? known asr models: ",
        ),
        ("piper-joe", "asr", "'piper-joe' is a model of kind tts, not asr; known asr models: whisper-base, whisper"),
    ],
)
def test_an_unknown_model_is_answered_with_what_there_is(id: str, kind: Any, message: str) -> None:
    with pytest.raises(BadModel) as refused:
        Catalogue.load().get(id, kind)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"engin": "x"}, r"models\.mine\.engin: unknown key; did you mean 'engine'"),
        ({"kind": "stt"}, r"models\.mine\.kind: Input should be 'asr', "),
        ({"licence": ""}, r"models\.mine\.licence: "),
        ({"files": {}}, r"models\.mine\.files: "),
        ({"files": {"../model.bin": {"source": "file:x", "size_bytes": 1, "sha256": "0" * 64}}}, "plain file name"),
        (
            {"files": {"m": {"source": "ftp:x", "size_bytes": 1, "sha256": "0" * 64}}},
            r"files\.m\.source: 'ftp:x' is none",
        ),
        (
            {"files": {"m": {"source": [], "size_bytes": 1, "sha256": "0" * 64}}},
            r"files\.m\.source: a file has at least one part",
        ),
        (
            {"files": {"m": {"source": "file:x", "size": 1, "sha256": "0" * 64}}},
            r"files\.m\.size_bytes: Field required",
        ),
        ({"files": {"m": {"source": "file:x", "size_bytes": 1, "sha256": "abc"}}}, r"models\.mine\.files\.m\.sha256: "),
        ({"id": "../up"}, r"models\.mine\.id: "),
    ],
)
def test_a_broken_entry_is_one_line_with_its_path(change: dict[str, Any], message: str) -> None:
    entry: dict[str, Any] = {"kind": "tts", "engine": "piper", "licence": "MIT"}
    entry["files"] = {"m": file_spec("file:x").model_dump()}
    with pytest.raises(BadModel, match=message) as refused:
        Catalogue.load({"mine": {**entry, **change}})
    assert "\n" not in str(refused.value)


def test_sources_are_read() -> None:
    assert parse_source("pypi:a-b==1.0.post1/a/b c.bin") == PypiSource("a-b", "1.0.post1", "a/b c.bin")
    assert parse_source("hf:acme/tiny@v1.0/sub/model.bin") == HfSource("acme/tiny", "v1.0", "sub/model.bin")
    assert parse_source("file:~/x") == FileSource("~/x")
    for broken in ("pypi:a/b", "pypi:a>=1/b", "hf:tiny@main/x", "hf:a/b/x", "file:", "/x", "https://x/y"):
        with pytest.raises(ValueError, match="is none of"):
            parse_source(broken)


def test_the_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert StoreOptions().folder == Path("/x/antiphon/models")
    assert StoreOptions(cache_dir="/y").folder == Path("/y")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert StoreOptions().folder == Path.home() / ".cache/antiphon/models"
