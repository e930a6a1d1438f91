"""`antiphon pull` and the pulling that `antiphon up` begins with. No network: the models are files."""

import argparse
import io
import threading
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from rich.progress import Progress as Bars

from deployments.errors import BadModel
from deployments.store import ModelSpec, Store
from serve_app.commands import pull
from serve_app.commands.pull import BarProgress, add_parser, pull_all, run
from tests.shelf import HALF, Shelf, a_shelf, a_store, file_spec, tiny  # noqa: F401  (fixtures)


@pytest.fixture
def models(tmp_path: Path) -> list[ModelSpec]:
    """Six small models that lie on the disk."""
    found = []
    for index in range(6):
        path = tmp_path / f"{index}.bin"
        path.write_bytes(bytes([index]) * 1000)
        found.append(tiny(file_spec(f"file:{path}", path.read_bytes()), id=f"model-{index}"))
    return found


def test_all_models_are_pulled(models: list[ModelSpec], store: Store, tmp_path: Path) -> None:
    pull_all([*models, models[0]], store)
    for index, spec in enumerate(models):
        assert (tmp_path / "models" / spec.id / "model.bin").read_bytes() == bytes([index]) * 1000


def test_the_first_failure_ends_the_pulls_that_still_run(shelf: Shelf, store: Store, tmp_path: Path) -> None:
    release = threading.Event()
    shelf.holds = (HALF, release)
    broken = tiny(file_spec(f"file:{tmp_path}/none"), id="broken")
    threading.Thread(target=_release_when_stopped, args=(store, release)).start()
    with pytest.raises(BadModel, match=r"broken: model\.bin: there is no file"):
        pull_all([tiny(), broken], store)
    assert not (tmp_path / "models" / "tiny" / "model.bin").exists()


def _release_when_stopped(store: Store, release: threading.Event) -> None:
    store._stop.wait(30)
    release.set()


def test_the_command_pulls_what_a_config_needs(
    models: list[ModelSpec], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    args: dict[str, dict[str, object]] = {kind: {"engine": "synthetic"} for kind in ("asr", "turn")}
    args |= {"vad": {"engine": "energy"}, "llm": {"engine": "llama_cpp", "model": "model-0"}}
    args["tts"] = {"model": "voice-1", "more_models": ["voice-2"]}
    entries = {spec.id: spec.model_dump(mode="json", exclude={"id"}) for spec in models}
    entries |= {f"voice-{n}": {**entries[f"model-{n}"], "kind": "tts", "engine": "piper"} for n in (1, 2)}
    everything = {**args, "models": entries, "store": {"cache_dir": str(tmp_path / "cache")}}
    config = {"applications": [{"name": "antiphon", "import_path": "serve_app.app:build", "args": everything}]}
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    assert run(_arguments("mine.yaml", "model-3")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[:3] for line in lines] == [
        ["model-0", "llm", "MIT"],
        ["voice-1", "tts", "MIT"],
        ["voice-2", "tts", "MIT"],
        ["model-3", "llm", "MIT"],
    ]
    assert (tmp_path / "cache/model-3/model.bin").is_file()


def test_an_unknown_model_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(_arguments("piper-jo")) == 2
    assert capsys.readouterr().err.startswith("antiphon pull: no model is called 'piper-jo'; did you mean 'piper-joe'?")


def test_without_names_it_is_the_local_config() -> None:
    assert _arguments().wanted == [pull.DEFAULT_CONFIG]


def test_a_terminal_sees_the_licence_and_a_full_bar(models: list[ModelSpec], store: Store) -> None:
    screen = io.StringIO()
    with Bars(console=Console(file=screen, force_terminal=True, width=100)) as bars:
        store.fetch(models[0], BarProgress(bars))
        assert bars.tasks[0].completed == bars.tasks[0].total == 1000
    assert "licence: MIT" in screen.getvalue()


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["pull", *words])
