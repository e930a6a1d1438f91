"""`python -m loadtest.rooms`: its words, its reports, and what it says where nothing can be measured."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtest import room_calls, server
from loadtest.room_bench import Findings, Target, draw, write
from loadtest.room_ticket import Keys
from loadtest.rooms import BENCHMARKS, main
from loadtest.server import free_port, readiness, started_with_rooms
from loadtest.wire import CallFailed, NobodyThere
from tests.stand_in import program
from tests.system import ROOT
from tests.test_watching import CONNECTING, LOADING, READY, Door

KEYS = Keys("ws://127.0.0.1:7880", "key", "secret")
PNG = b"\x89PNG"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_help_and_a_module(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0
    assert BENCHMARKS[name][0].split(",")[0] in " ".join(capsys.readouterr().out.split())
    assert (ROOT / "loadtest" / f"room_{name}.py").is_file()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "required: BENCHMARK"),
        (["jion"], "invalid choice"),
        (["join", "-n", "0"], "expected a number from 1 on, not '0'"),
        (["calls", "--turns", "-1"], "expected a number from 1 on"),
        (["join", "--turns", "3"], "unrecognized arguments"),
    ],
)
def test_wrong_words(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("name", ["join", "calls", "stop"])
def test_where_no_server_answers(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    code = main([name, "-n", "1", "--url", nobody, "--config", "configs/demo.yaml", "--out", str(tmp_path)])
    printed = capsys.readouterr()
    assert code == (1 if name == "stop" else 2)  # it goes on after a call that failed, and measures nothing
    assert f"nothing answers at {nobody}: is `antiphon up` running?" in printed.err + printed.out


@pytest.mark.parametrize("words", [["round_trip"], ["calls", "--bare"]])
def test_a_newcomer_learns_how_to_give_the_keys(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*words, "--url", "http://127.0.0.1:1", "--config", "configs/demo.yaml"])
    assert code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for name in ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "antiphon up", "Without --url"):
        assert name in error


def test_a_config_that_is_wrong_ends_it_before_anything_starts(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.yaml").write_text("applications: []\n")
    assert main(["join", "--config", str(tmp_path / "x.yaml")]) == 2
    assert "none of them has import_path" in capfd.readouterr().err


# --- a server that is started


CHILD = """
import json, os, sys, time
with open({seen!r}, "w") as seen:
    json.dump([sys.argv[3:], dict(os.environ)], seen)
{then}
"""
ANSWER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        self.end_headers()
        self.wfile.write({body!r})
    def log_message(self, *args): pass
try:
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
except KeyboardInterrupt:
    open({ended!r}, "w").close()
"""


def antiphon(folder: Path, monkeypatch: pytest.MonkeyPatch, then: str) -> None:
    """A stand-in for `python -m serve_app.cli up`."""
    text = CHILD.format(seen=str(folder / "seen"), then=then)
    monkeypatch.setattr(sys, "executable", str(program(folder / "python", text)))


def answering(folder: Path, status: int, body: Any) -> str:
    return ANSWER.format(status=status, body=json.dumps(body).encode(), ended=str(folder / "ended"))


def test_it_is_given_keys_and_settings_and_stopped_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    antiphon(tmp_path, monkeypatch, answering(tmp_path, *READY))
    with started_with_rooms(Path("x.yaml"), KEYS, {"ANTIPHON_CALL__ALLOW_LOOPBACK": "true"}) as url:
        assert (readiness(url) or {})["status"] == "ready"
        assert not (tmp_path / "ended").exists()
    assert (tmp_path / "ended").exists()
    words, environment = json.loads((tmp_path / "seen").read_text())
    assert words == ["up", "x.yaml", "--port", url.rpartition(":")[2], "--livekit-port", "7880"]
    assert environment["ANTIPHON_LIVEKIT__API_KEY"] == "key"
    assert environment["ANTIPHON_LIVEKIT__API_SECRET"] == "secret"
    assert environment["ANTIPHON_CALL__ALLOW_LOOPBACK"] == "true"


def test_who_ends_the_benchmark_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    antiphon(tmp_path, monkeypatch, answering(tmp_path, *READY))
    with pytest.raises(SystemExit), started_with_rooms(Path("x.yaml"), KEYS, {}):
        signal.raise_signal(signal.SIGTERM)
    assert (tmp_path / "ended").exists()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_benchmark_without_rooms_starts_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    antiphon(tmp_path, monkeypatch, answering(tmp_path, 200, {"status": "ready", "rooms": {"state": "off"}}))
    with server.started(Path("x.yaml")) as url:
        assert readiness(url) is not None
    assert "--no-livekit" in json.loads((tmp_path / "seen").read_text())[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, {"status": "ready", "rooms": {"state": "off"}}), "`antiphon up` has no rooms"),
        (CONNECTING, "not ready after 2 s: no LiveKit server at ws://x"),
        (LOADING, "not ready after 2 s"),
        (None, "ended with exit code 3"),
    ],
)
def test_a_server_that_does_not_get_so_far(
    answer: tuple[int, Any] | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "START_S", 2.0)  # its process answers before
    antiphon(tmp_path, monkeypatch, answering(tmp_path, *answer) if answer else "sys.exit(3)")
    with pytest.raises(NobodyThere, match=reason), started_with_rooms(Path("x.yaml"), None, {}):
        pass


def test_who_is_not_ready_says_nothing_that_counts() -> None:
    assert readiness(f"http://127.0.0.1:{free_port()}") is None
    for answer, state in ((LOADING, None), (READY, "ready"), ((200, ["ready"]), None)):
        with Door([answer]).open() as at:
            assert (readiness(f"http://{at}") or {}).get("status") == state


# --- reports


def test_a_report_is_a_table_json_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Findings("trial", "A trial", one_scale=True)
    found.add("quick_ms", 1.0, 2.0, None, 3.0)
    found.add("slow_ms", 100.0)
    found.add("never_ms")
    found.facts["calls"] = 4
    found.fail("somebody did not come")
    said = write(tmp_path, found)
    printed = capsys.readouterr().out
    assert "failed: somebody did not come" in printed
    assert printed.split("quick_ms", 1)[1].split()[:5] == ["2.0", "2.8", "2.9", "3.0", "3"]
    assert printed.split("never_ms", 1)[1].split()[:5] == ["-", "-", "-", "-", "0"]
    kept = json.loads((tmp_path / "rooms_trial.json").read_text())
    assert kept["values"] == {"quick_ms": [1.0, 2.0, 3.0], "slow_ms": [100.0], "never_ms": []}
    assert kept["failures"] == ["somebody did not come"]
    assert said == {name: kept[name] for name in said}
    assert (said["failed"], said["calls"], said["quick_ms"]["n"]) == (1, 4, 3)
    assert (tmp_path / "rooms_trial.png").read_bytes().startswith(PNG)


def test_nothing_measured_is_no_picture_and_no_error(tmp_path: Path) -> None:
    write(tmp_path, found := Findings("trial", "A trial"))
    assert json.loads((tmp_path / "rooms_trial.json").read_text())["values"] == {}
    draw(tmp_path / "x.png", found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rooms_trial.json"]


def test_a_call_costs_what_came_on_top_in_those_processes_that_were_seen() -> None:
    found = Findings("calls", "Calls")
    idle, busy = {"agent": (0.5, 100.0)}, {"agent": (0.9, 120.0), "callers": (0.2, 60.0)}
    room_calls._costs(found, 4, idle, busy)
    costs = {name: figure for name, figure in found.facts.items() if name.endswith("a_call")}
    assert costs == {
        "agent_core_percent_a_call": 10.0,
        "agent_mb_a_call": 5.0,
        "callers_core_percent_a_call": 5.0,
        "callers_mb_a_call": 15.0,
    }


def test_keys_come_from_the_environment_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CallFailed, match="an echo needs the keys"):
        Target("", Path()).need_keys("an echo")
    for name, value in (("URL", KEYS.url), ("API_KEY", KEYS.api_key), ("API_SECRET", KEYS.api_secret)):
        assert Keys.from_environment() is None
        monkeypatch.setenv(f"LIVEKIT_{name}", value)
    assert Keys.from_environment() == KEYS
    assert Target("", Path(), keys=KEYS).need_keys("an echo") is KEYS
