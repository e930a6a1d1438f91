"""`antiphon plan`: what it prints and draws, how it says no; and what `antiphon up` refuses before loading."""

import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from cluster.machines import hosts_of_nodes
from serve_app.cli import main
from serve_app.fitting import DoesNotFit, check_fits, lacking
from serve_app.needs import needs_of
from serve_app.settings import Settings, load_settings
from tests.test_configs import NOWHERE, ROOT, config
from tests.test_machines import node

BIG = {
    "kind": "llm",
    "engine": "llama_cpp",
    "licence": "MIT",
    "files": {"model.gguf": {"source": "file:/m.gguf", "size_bytes": 4_700_000_000, "sha256": "0" * 64}},
}
ON_GPUS: dict[str, Any] = {
    "asr": {"gpus": 0.1, "replicas": 2},
    "llm": {"gpus": 0.4, "model": "big", "replicas": 2},
    "models": {"big": BIG},
}


@pytest.fixture(autouse=True)
def _without_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in NOWHERE.items():
        monkeypatch.setenv(name, text)


@pytest.fixture
def path(tmp_path: Path) -> str:
    written = tmp_path / "gpu.yaml"
    written.write_text(yaml.safe_dump(config(ON_GPUS)))
    return str(written)


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["plan", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_plan_is_a_table_and_bars(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = planned(capsys, path, "--gpus", "2xH200,1xL4")
    assert (code, err) == (0, "")
    table = {line.split()[0]: line for line in out.splitlines()[3:9]}
    assert list(table) == ["deployment", "asr", "llm", "tts", "turn", "ingress"]
    row = "llm 2 0.4 6.9 GB 9.6 GB or 56.4 GB 0.1 host1 gpu0, host2 gpu0"
    assert " ".join(table["llm"].split()) == row
    assert table["tts"].split()[-1].startswith("host")
    assert "host1 gpu0 H200  [bbbbbbbbbbbbaaa...............]  b llm 0.4, a asr 0.1" in out
    assert "host1 gpu1 H200  [..............................]  free" in out
    assert "calls at once (estimated); the limit is " in out.splitlines()[-1]


def test_what_does_not_fit_is_said_with_what_would(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = planned(capsys, path, "--gpus", "1xT4")
    assert code == 1
    first, then = err.splitlines()
    assert first == (
        "llm: replica 1 of 2: it needs 6.9 GB of GPU memory, and gpus: 0.4 of the largest, T4 (16 GB) is 6.4 GB"
    )
    assert then.startswith("  what would fit: gpus: 0.44 with replicas: 1; or ")
    assert "0 of 2" in out
    assert "calls" not in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--gpus", "2xH201"], "antiphon: how much memory has a H201?"),
        (["--gpus", "1xL4", "--hosts", "?"], "antiphon: '?' is neither GPUs"),
        (["--cluster", "127.0.0.1:1"], "antiphon: no Ray cluster at 127.0.0.1:1: "),
        (["--picture", "/nowhere/x.svg"], "antiphon: /nowhere/x.svg: No such file or directory"),
    ],
)
def test_bad_input_is_one_line(path: str, words: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = planned(capsys, path, *words)
    assert (code, out) == (2, "")
    assert err.startswith(line)
    assert len(err.splitlines()) == 1


def test_a_config_that_is_wrong_is_not_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "x.yaml"
    written.write_text(yaml.safe_dump(config({"llm": {"model": "nobody"}})))
    code, _, err = planned(capsys, str(written))
    assert code == 2
    assert "llm.model: no model is called 'nobody'" in err
    assert planned(capsys, str(tmp_path / "none.yaml"))[0] == 2


def test_gpus_or_a_cluster_but_not_both(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["plan", path, "--gpus", "1xL4", "--cluster", "auto"])
    assert left.value.code == 2


def test_the_picture_shows_who_sits_where(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "plan.svg"
    code, _, _ = planned(capsys, path, "--gpus", "a:1xH200+16c", "--gpus", "b:1xL4", "--picture", str(picture))
    assert code == 0
    drawn = ElementTree.parse(picture).getroot()
    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a gpu0: H200 141 GB", "a: 16 cores", "b gpu0: L4 24 GB", "llm 0.4 = 56.4 GB", "asr"} <= set(texts)
    rects = drawn.iter("{http://www.w3.org/2000/svg}rect")
    first = [each.get("x") for each in rects if len(each) and each.get("y") == "52"]
    assert len(set(first)) == len(first) == 2  # llm and asr, side by side
    titles = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert "asr 0.1 = 2.4 GB" in titles


@pytest.mark.parametrize("name", ["local.yaml", "demo.yaml"])
def test_shipped_configs_have_a_plan_on_this_machine(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = planned(capsys, str(ROOT / "configs" / name))
    assert (code, err) == (0, "")
    assert f"this machine: {os.cpu_count()} cores" in out


def test_the_cluster_s_config_fits_the_hosts_that_it_names(capsys: pytest.CaptureFixture[str]) -> None:
    path = ROOT / "configs" / "cluster.yaml"
    assert "on any two hosts with 16 cores each" in path.read_text()
    assert planned(capsys, str(path), "--hosts", "a:16c,b:16c")[0] == 0
    assert planned(capsys, str(path), "--hosts", "a:16c")[0] == 1


# --- what is refused before anything is loaded


@pytest.mark.parametrize("name", ["local.yaml", "demo.yaml"])
def test_shipped_configs_fit_one_core(name: str) -> None:
    settings = load_settings(ROOT / "configs" / name)
    assert lacking(settings, hosts_of_nodes([node("one", {"CPU": 1.0})])) is None


@pytest.mark.parametrize(
    ("args", "nodes", "said"),
    [
        ({"llm": {"gpus": 0.5}}, [node("a", {"CPU": 2.0})], "llm: it needs 0.5 of a GPU, and there is none"),
        ({"llm": {"cpus": 3}}, [node("a", {"CPU": 2.0})], "llm: it reserves 3 cores, and a has 2 of 2 left"),
        (
            {"llm": {"cpus": 1, "replicas": 2}},
            [node("a", {"CPU": 2.0})],
            "all replicas together reserve 2.4 cores (asr 0.1, llm 2, tts 0.1, turn 0.1, ingress 0.1), and there are 2",
        ),
        (
            {"llm": {"gpus": 0.6}, "asr": {"gpus": 0.6}},
            [node("a", {"CPU": 2.0, "GPU": 1.0})],
            "all replicas together reserve 1.2 GPUs (asr 0.6, llm 0.6), and there are 1",
        ),
        # what may be placed is not refused: memory is estimated, and Ray knows no .49
        ({"llm": {"gpus": 0.6}, "asr": {"gpus": 0.4}}, [node("a", {"CPU": 2.0, "GPU": 1.0})], None),
        ({**ON_GPUS, "asr": {}}, [node("a", {"CPU": 2.0, "GPU": 1.0, "accelerator_type:T4": 1.0})], None),
        ({"llm": {"cpus": 2}}, [node("a", {"CPU": 2.0}), node("b", {"CPU": 1.0})], None),
    ],
)
def test_only_what_ray_can_never_place_is_refused(
    args: dict[str, Any], nodes: list[dict[str, Any]], said: str | None
) -> None:
    assert lacking(Settings.model_validate(args), hosts_of_nodes(nodes)) == said


def test_what_does_not_fit_is_refused_unless_the_cluster_grows() -> None:
    small = hosts_of_nodes([node("a", {"CPU": 2.0})])
    args = {"llm": {"cpus": 3}}
    with pytest.raises(DoesNotFit, match=r"too small for this config: llm: it reserves 3 cores.*antiphon plan CONFIG"):
        check_fits(Settings.model_validate(args), small)
    check_fits(Settings.model_validate({**args, "cluster": {"grows": True}}), small)
    check_fits(Settings.model_validate(args), [])  # of which nothing is known yet
    check_fits(Settings.model_validate({"ingress": {"max_replicas": 64}}), small)  # what may be added later


# --- what a config needs


def test_needs_follow_the_settings() -> None:
    small, big = (
        {need.deployment: need for need in needs_of(Settings.model_validate(args))}
        for args in ({}, {**ON_GPUS, "asr": {"compute_type": "float32", "workers": 4}, "ingress": {"replicas": 3}})
    )
    assert list(small) == ["asr", "llm", "tts", "turn", "ingress"]
    assert small["llm"].gpu_memory_gb == 0
    assert big["llm"].gpu_memory_gb > 4.7  # its weights, its context, and CUDA
    assert big["llm"].core_s_per_call_s == 0
    assert small["llm"].core_s_per_call_s == pytest.approx(0.0525)
    assert big["asr"].host_memory_gb > small["asr"].host_memory_gb
    assert (big["asr"].most_cores, small["asr"].most_cores) == (4, 2)
    assert (big["ingress"].replicas, big["ingress"].most_calls) == (3, 32)


def test_room_for_a_longer_context_is_needed_too() -> None:
    short, long = (needs_of(Settings.model_validate({"llm": {"context_tokens": tokens}})) for tokens in (8192, 65_536))
    assert long[1].host_memory_gb - short[1].host_memory_gb > 1


def test_the_door_is_planned_as_large_as_it_may_grow() -> None:
    settings = Settings.model_validate({"ingress": {"max_replicas": 50}})
    assert needs_of(settings)[4].replicas == 50


def test_a_model_is_planned_as_often_as_there_may_be_of_it() -> None:
    settings = Settings.model_validate({"llm": {"replicas": 2, "max_replicas": 5}})
    assert [needs_of(settings, grown=grown)[1].replicas for grown in (True, False)] == [5, 2]


def test_further_voices_need_room_up_to_those_that_are_in_memory_at_once() -> None:
    voice = {"kind": "tts", "engine": "piper", "licence": "MIT", "files": BIG["files"]}
    models = {f"voice{number}": voice for number in range(5)}
    tts: dict[str, Any] = {"more_models": list(models), "residency": {"resident_cap": 3}}
    none, some = (needs_of(Settings.model_validate(args))[2] for args in ({}, {"tts": tts, "models": models}))
    assert some.host_memory_gb - none.host_memory_gb == pytest.approx(2 * 2 * 4.7)
    tts["residency"] = {"resident_cap": 3, "budget_bytes": 1_000_000_000}
    tight = needs_of(Settings.model_validate({"tts": tts, "models": models}))[2]
    assert none.host_memory_gb < tight.host_memory_gb < none.host_memory_gb + 2


def test_further_deployments_are_planned_and_a_pinned_one_wants_its_gpu() -> None:
    more = {"kind": "llm", "name": "large", "gpus": 0.5, "accelerator_type": "H200"}
    needs = needs_of(Settings.model_validate({"more_deployments": [more]}))
    assert [need.deployment for need in needs] == ["asr", "llm", "tts", "turn", "large", "ingress"]
    assert [need.kind for need in needs] == [None, None, None, None, "H200", None]


def test_rooms_have_a_keeper() -> None:
    args = {"livekit": {"url": "wss://rooms.example.org", "api_key": "k", "api_secret": "s"}}
    assert "rooms" in {need.deployment for need in needs_of(Settings.model_validate(args))}
