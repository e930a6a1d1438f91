"""Settings: where each value comes from, which source wins, and what is said about a wrong one."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from serve_app.problems import SettingsError
from serve_app.settings import DEFAULT_MODELS, Settings, deployments_of, load_settings, needed_models, vad_spec
from serve_app.settings_sources import STANDARD


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a .env, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith("ANTIPHON_") or name in STANDARD]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(args: dict[str, Any], folder: Path) -> Settings:
    config = {"applications": [{"name": "antiphon", "import_path": "serve_app.app:build", "args": args}]}
    (folder / "x.yaml").write_text(yaml.safe_dump(config))
    return load_settings(Path("x.yaml"))


def test_nothing_chosen_is_the_local_system() -> None:
    settings = Settings.model_validate({})
    assert [spec.id for spec in needed_models(settings)] == list(DEFAULT_MODELS.values())
    assert list(settings.changes()) == []


def test_a_model_goes_with_its_engine() -> None:
    settings = Settings.model_validate(
        {"asr": {"engine": "synthetic"}, "vad": {"engine": "energy"}, "llm": {"threads": 1}}
    )
    assert settings.asr.model == "synthetic"
    assert vad_spec(settings) is None
    assert [spec.kind for spec in needed_models(settings)] == ["llm", "tts", "turn"]


def test_several_deployments_of_a_kind() -> None:
    more = [
        {"kind": "tts", "name": "other-voices", "engine": "synthetic"},
        {"kind": "llm", "name": "large", "threads": 3},
    ]
    settings = Settings.model_validate({"more_deployments": more})
    assert [(each.name, each.kind, each.engine) for each in deployments_of(settings)][4:] == [
        ("other-voices", "tts", "synthetic"),
        ("large", "llm", "llama_cpp"),
    ]
    assert [each.options.model for each in deployments_of(settings)][4:] == ["synthetic", DEFAULT_MODELS["llm"]]
    assert len(needed_models(settings)) == len(DEFAULT_MODELS), "two deployments share what is fetched"


def test_later_sources_win(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    args = {"llm": {"threads": 3, "slots": 3, "max_tokens": 33}}
    (elsewhere / ".env").write_text("ANTIPHON_LLM__THREADS=5\nANTIPHON_LLM__SLOTS=5\n")
    monkeypatch.setenv("ANTIPHON_LLM__THREADS", "7")
    settings = loaded(args, elsewhere)
    assert (settings.llm.threads, settings.llm.slots, settings.llm.max_tokens) == (7, 5, 33)
    assert sorted(settings.changes()) == [
        "llm.max_tokens = 33 (x.yaml)",
        "llm.slots = 5 (ANTIPHON_LLM__SLOTS in .env)",
        "llm.threads = 7 (ANTIPHON_LLM__THREADS)",
    ]


def test_both_ways_of_starting_give_the_same(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve hands the bare `args` to `build`."""
    monkeypatch.setenv("THREADS", "4")
    args = {"llm": {"threads": "${THREADS}"}}
    assert Settings.model_validate(args).model_dump() == loaded(args, elsewhere).model_dump()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${GREETING}", "hello"),
        ("${MISSING:-good day}", "good day"),
        ("${GREETING:-good day}, you", "hello, you"),
        ("${MISSING:-}", ""),
        ("$${GREETING} costs $5", "${GREETING} costs $5"),
    ],
)
def test_references(text: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREETING", "hello")
    settings = Settings.model_validate({"call": {"instructions": text}})
    assert settings.call.instructions == value


def test_where_conversations_are_kept_is_shown_without_its_password(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://me:hush@here:6379/1?password=hush")
    settings = Settings.model_validate({})
    assert settings.registry.url == "rediss://me:hush@here:6379/1?password=hush"
    assert list(settings.changes()) == ["registry.url = rediss://here:6379/1 (REDIS_URL)"]
    monkeypatch.setenv("ANTIPHON_REGISTRY__URL", "redis://there")
    assert Settings.model_validate({}).registry.url == "redis://there"


@pytest.mark.parametrize("url", ["localhost:6379", "http://:hush@here", "redis://:hu/sh@here", "redis://"])
def test_a_wrong_place_for_conversations_is_refused_without_showing_it(elsewhere: Path, url: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        loaded({"registry": {"url": url}}, elsewhere)
    (problem,) = wrong.value.problems
    assert problem.path.endswith("registry.url")
    assert url not in str(problem)
    assert "hu" not in problem.message.replace("should", "")


def test_a_reference_may_stand_in_dotenv(elsewhere: Path) -> None:
    (elsewhere / ".env").write_text("WORDS=from the file\n")
    assert Settings.model_validate({"call": {"instructions": "${WORDS}"}}).call.instructions == "from the file"


def test_a_missing_variable_is_one_error_with_its_path(elsewhere: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        loaded({"call": {"instructions": "${NOBODY_SET_ME}"}}, elsewhere)
    [problem] = caught.value.problems
    assert problem.path == "applications[0].args.call.instructions"
    assert "NOBODY_SET_ME is not set" in problem.message


def test_an_unknown_variable_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_ASR__MODLE", "x")
    with pytest.raises(ValidationError, match="ANTIPHON_ASR__MODLE: unknown setting; did you mean ANTIPHON_ASR__MODEL"):
        Settings.model_validate({})


def test_text_is_taken_as_it_is_and_structure_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTIPHON_CALL__INSTRUCTIONS", "Answer: briefly, {no} lists")
    monkeypatch.setenv("ANTIPHON_ASR__LANGUAGE", "null")
    monkeypatch.setenv("ANTIPHON_CALL__SPECULATION", "false")
    monkeypatch.setenv("ANTIPHON_TTS__VOICES", '{"alloy": "piper-joe"}')
    settings = Settings.model_validate({})
    assert settings.call.instructions == "Answer: briefly, {no} lists"
    assert settings.asr.language is None
    assert settings.call.speculation is False
    assert settings.tts.voices == {"alloy": "piper-joe"}


def test_a_pickled_copy_hears_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = pickle.dumps(Settings.model_validate({}))
    monkeypatch.setenv("ANTIPHON_LLM__THREADS", "9")
    monkeypatch.setenv("ANTIPHON_NO_SUCH", "1")
    assert pickle.loads(pickled).llm.threads != 9
