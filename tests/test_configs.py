"""Every shipped config is right, and wrong ones are refused in one line each."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from serve_app.cli import main
from serve_app.commands.env_example import env_example

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_configs_are_right(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(path)]) == 0, capsys.readouterr().err
    assert f"{path}: fine" in capsys.readouterr().out


def test_there_are_configs() -> None:
    assert {"local.yaml", "demo.yaml"} <= {path.name for path in (ROOT / "configs").glob("*.yaml")}


def test_the_example_of_a_dotenv_is_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example(), "antiphon env-example > .env.example"


def test_no_host_of_a_cluster_can_ever_have_all_of_a_model() -> None:
    [application] = yaml.safe_load((ROOT / "configs" / "cluster.yaml").read_text(encoding="utf-8"))["applications"]
    most = {each["name"]: each["max_replicas_per_node"] for each in application["deployments"]}
    args = application["args"]
    assert most.keys() == {"asr", "llm", "tts", "turn"}
    for model, on_a_host in most.items():
        assert on_a_host < args[model]["replicas"]
        assert 2 * on_a_host >= args[model].get("max_replicas", args[model]["replicas"])  # two hosts are enough


def config(args: Any = None, **top: Any) -> dict[str, Any]:
    application = {"name": "antiphon", "route_prefix": "/", "import_path": "serve_app.app:build", "args": args or {}}
    return {"applications": [application], **top}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (config({"asr": {"modle": "x"}}), 'applications[0].args.asr.modle: unknown key; did you mean "model"?'),
        (config({"asr": {"model": "wisper-tiny.en"}}), "applications[0].args.asr.model: no model is called"),
        (config({"asr": {"engine": "piper"}}), 'applications[0].args.asr.engine: unknown engine "piper"; known: '),
        (config({"asr": {"engine": "synthetc"}}), 'unknown engine "synthetc"; did you mean "synthetic"?'),
        (config({"llm": {"deadline_ms": 5}}), 'llm.deadline_ms: unknown key; did you mean "deadline_s" (in s)?'),
        (config({"llm": {"deadline_s": "5s"}}), 'not "5s": the unit is in the name, write 5'),
        (config({"llm": {"model": "synthetic"}}), 'llm.engine: engine "llama_cpp" needs a model with weights'),
        (
            config({"llm": {"engine": "synthetic", "model": "smollm2-135m"}}),
            'applications[0].args.llm.model: engine "synthetic" needs no weights',
        ),
        (config({"tts": {"model": "piper-jo", "more_models": []}}), "args.tts.model: no model is called 'piper-jo'"),
        (config({"tts": {"more_models": ["piper-jo"]}}), "args.tts.more_models[0]: no model is called 'piper-jo'; did"),
        (
            config({"tts": {"more_models": ["piper-joe"]}}),
            "args.tts: more_models names a model twice, or the one in model",
        ),
        (
            config({"tts": {"more_models": ["b"], "model": "a", "residency": {"resident_cap": 1}}}),
            "args.tts: residency.resident_cap must be 2 or more",
        ),
        (config({"models": {"mine": {"kind": "llm"}}}), "applications[0].args.models.mine"),
        (
            config({"more_deployments": [{"kind": "tts", "name": "b", "engin": "piper"}]}),
            'applications[0].args.more_deployments[0].engin: unknown key; did you mean "engine"?',
        ),
        (
            config({"more_deployments": [{"kind": "tts", "name": "b", "model": "piper-jo"}]}),
            "args.more_deployments[0].model: no model is called 'piper-jo'; did",
        ),
        (
            config({"more_deployments": [{"kind": "tts", "name": "tts"}]}),
            "args.more_deployments[0]: 'tts' is the name of a deployment that is there anyway",
        ),
        (
            config({"more_deployments": [{"kind": "asr", "name": "b"}, {"kind": "llm", "name": "b"}]}),
            "args.more_deployments: two deployments have the same name: b",
        ),
        (
            config({"more_deployments": [{"kind": "vad", "name": "b"}]}),
            "args.more_deployments[0]: input tag 'vad' found using 'kind' does not match any of the expected tags: 'as",
        ),
        (config(http_options={"prot": 1}), 'http_options.prot: unknown key; did you mean "port"?'),
        (
            config(http_options={"port": "${PORT:-8000}"}),
            'http_options.port: expected a number from 1 to 65535, not "$',
        ),
        (config(http_options="8000"), "http_options: expected a mapping with host and port"),
        (config(proxy_locaton="HeadOnly"), 'proxy_locaton: unknown key; did you mean "proxy_location"?'),
        (config(proxy_location="Nowhere"), "proxy_location: "),
        (config("words"), "applications[0].args: "),
        ({"applications": []}, "none of them has import_path: serve_app.app:build"),
        ({"asr": {}}, "applications: expected a list"),
    ],
)
def test_wrong_configs(content: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(content))
    assert main(["check-config", str(path)]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert all(said.startswith(f"{path}: ") for said in error.splitlines())
    assert len(error.splitlines()) == 1


def test_an_engine_that_does_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"kind": "llm", "engine": "other", "licence": "MIT", "files": {"a": _file(tmp_path)}}
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(config({"llm": {"model": "mine"}, "models": {"mine": model}})))
    assert main(["check-config", str(path)]) == 2
    assert 'args.llm.engine: "llama_cpp" cannot run mine, which needs engine: other' in capsys.readouterr().err


def test_a_further_voice_that_needs_another_engine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"kind": "tts", "engine": "other", "licence": "MIT", "files": {"a": _file(tmp_path)}}
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(config({"tts": {"more_models": ["mine"]}, "models": {"mine": model}})))
    assert main(["check-config", str(path)]) == 2
    assert 'args.tts.more_models[0]: "piper" cannot run mine, which needs engine: other' in capsys.readouterr().err


def _file(folder: Path) -> dict[str, object]:
    return {"source": f"file:{folder}/a", "size_bytes": 1, "sha256": "0" * 64}


def test_what_is_no_yaml_has_line_and_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("applications:\n  - name: [antiphon\n  - x: 1\n")
    assert main(["check-config", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"{path}: line 3, column 6: not YAML: ")


def test_a_missing_file_is_answered_with_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", str(ROOT / "configs" / "locl.yaml")]) == 2
    error = capsys.readouterr().err
    assert f"did you mean {ROOT / 'configs' / 'local.yaml'}?" in error
    assert "demo.yaml" in error


# --- rooms

NOWHERE = {"LIVEKIT_URL": "", "LIVEKIT_API_KEY": "", "LIVEKIT_API_SECRET": ""}


def checked(
    livekit: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **variables: str
) -> tuple[int, list[str]]:
    """Exit code and lines of `antiphon check-config`, without what the person's environment says of rooms."""
    monkeypatch.chdir(folder)  # no .env
    for name, text in {**NOWHERE, **variables}.items():
        monkeypatch.setenv(name, text)
    Path("x.yaml").write_text(yaml.safe_dump(config({"livekit": livekit})))
    code = main(["check-config", "x.yaml"])
    printed = capsys.readouterr()
    return code, (printed.err or printed.out).splitlines()


@pytest.mark.parametrize(
    ("livekit", "variables", "lacking"),
    [
        ({"url": "wss://rooms.example.org"}, {}, ["api_key", "api_secret"]),
        ({"url": "wss://rooms.example.org", "api_key": "key"}, {}, ["api_secret"]),
        ({"url": "wss://rooms.example.org", "api_key": "key", "api_secret": ""}, {}, ["api_secret"]),
        ({}, {"LIVEKIT_URL": "wss://rooms.example.org", "LIVEKIT_API_SECRET": "secret"}, ["api_key"]),
        ({}, {"ANTIPHON_LIVEKIT__URL": "wss://rooms.example.org"}, ["api_key", "api_secret"]),
    ],
)
def test_a_livekit_server_is_of_no_use_without_its_keys(
    livekit: Any,
    variables: dict[str, str],
    lacking: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = checked(livekit, tmp_path, monkeypatch, capsys, **variables)
    assert code == 2
    assert lines == [
        f"x.yaml: applications[0].args.livekit.{name}: missing, and the LiveKit server in livekit.url wants it; "
        f"LIVEKIT_{name.upper()} in the environment or .env sets it"
        for name in lacking
    ]


@pytest.mark.parametrize(
    ("livekit", "variables"),
    [
        ({"url": "wss://rooms.example.org", "api_key": "key", "api_secret": "secret"}, {}),
        ({"url": "wss://rooms.example.org"}, {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "secret"}),
        (
            {"url": "wss://rooms.example.org", "api_key": "key", "api_secret": "secret"},
            {"LIVEKIT_URL": "wss://elsewhere.example.org", "LIVEKIT_API_KEY": "other", "LIVEKIT_API_SECRET": "other"},
        ),
    ],
)
def test_a_livekit_server_is_shown_and_its_keys_are_not(
    livekit: Any,
    variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, lines = checked(livekit, tmp_path, monkeypatch, capsys, **variables)
    assert code == 0
    assert "  rooms wss://rooms.example.org" in lines
    assert "secret" not in "".join(lines)


def test_without_a_livekit_server_it_is_said_who_starts_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = checked({}, tmp_path, monkeypatch, capsys, LIVEKIT_API_KEY="key")
    assert code == 0
    assert "  rooms of a LiveKit server that `antiphon up` starts; none with `serve run`" in lines


def test_what_is_no_address_of_a_livekit_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, [line] = checked({"url": "rooms.example.org"}, tmp_path, monkeypatch, capsys)
    assert code == 2
    assert line.startswith("x.yaml: applications[0].args.livekit.url: ")
