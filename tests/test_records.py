"""Recorded calls: taken down while they run, and played again without any of what made them."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serve_app.call_options import CallOptions
from serve_app.cli import main
from serve_app.conversation import barge_in, judging, listening, turns
from serve_app.conversation import messages as m
from serve_app.conversation.barge_in import Intrusion, Verdict
from serve_app.conversation.items import ServerVad
from serve_app.conversation.replay import replayed
from serve_app.conversation.turns import Command, Event, State
from serve_app.records import LARGEST_BYTES, WAITING_LINES, RecordFile, read_record
from tests.call_kit import BRIEF, calling, said, silence, speaking, turn

CALLS = {path.stem: read_record(path) for path in sorted((Path(__file__).parent / "recorded_calls").glob("*.jsonl"))}
"""Calls that took place: the models of configs/local.yaml, in some of them with the synthetic LLM."""


def noticed() -> bool:
    """Does any recorded call come otherwise now?"""
    return any(replayed(lines).differences for lines in CALLS.values())


@pytest.mark.parametrize("name", CALLS)
def test_a_recorded_call_comes_the_same_again(name: str) -> None:
    replay = replayed(CALLS[name])
    assert replay.differences == []
    assert replay.state is State.CLOSED


def test_much_happens_in_the_recorded_calls() -> None:
    assert len(CALLS) == 10
    lines = [line for call in CALLS.values() for line in call]
    steps = {line["event"] for line in lines if "event" in line}
    assert steps == {event.name for event in Event} - {"TURN_COMMITTED", "TURN_DISCARDED"}  # these are a client's
    assert {line["verdict"] for line in lines if "intrusion" in line} == {None, "INTERRUPTION", "FALSE_ALARM"}
    assert any(line.get("dismissed") for line in lines)


def taken() -> Iterator[tuple[State, Event]]:
    """Every step that the machine takes in a recorded call."""
    for lines in CALLS.values():
        before = State.IDLE
        for line in lines:
            if "event" in line:
                yield before, Event[line["event"]]
                before = State[line["state"]]


@pytest.mark.parametrize(("state", "event"), sorted(set(taken()), key=str), ids=lambda value: value.name)
@pytest.mark.parametrize("change", ["another state", "another command", "none"])
def test_a_changed_transition_is_noticed(
    state: State, event: Event, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, commands = turns.TRANSITIONS[state][event]
    if change == "none":
        monkeypatch.delitem(turns.TRANSITIONS[state], event)
    elif change == "another state":
        monkeypatch.setitem(turns.TRANSITIONS[state], event, (State((target.value % len(State)) + 1), commands))
    else:
        monkeypatch.setitem(turns.TRANSITIONS[state], event, (target, (*commands, Command.RESUME_PLAYOUT)))
    assert noticed()


class Opposite(barge_in.WordsJudge):
    def verdict(self, intrusion: Intrusion) -> Verdict | None:
        verdict = super().verdict(intrusion)
        return {Verdict.INTERRUPTION: Verdict.FALSE_ALARM, Verdict.FALSE_ALARM: Verdict.INTERRUPTION}.get(verdict)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setattr("serve_app.conversation.replay.judge_for", Opposite),
        lambda patch: patch.setattr(judging, "SUREST", 0.2),
        lambda patch: patch.setattr(judging.TurnJudge, "wants_opinion", lambda judge, silence_ms: silence_ms == 64),
        lambda patch: patch.setattr(listening.Hearing, "end_of_speech", lambda hearing: None),
    ],
    ids=["barge-in", "certainty", "questions", "hearing"],
)
def test_another_judgement_is_noticed(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    assert noticed()


# --- taking down


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_call_with_everything_is_recorded_and_comes_the_same_again(tmp_path: Path) -> None:
    async with calling(speed=5.0, record_dir=tmp_path) as rig:
        await turn(rig, "hello there")
        rig.line.give(said("i would like the,", pause_ms=0), silence(500), said("tell me a very long story."))
        await speaking(rig, 2)
        rig.line.give(said("wait"))
        await rig.line.wait(m.TurnTimed, 3)
        rig.line.give(m.Configure(replace(BRIEF, turn_detection=ServerVad(silence_duration_ms=300))))
        rig.line.give(said("and now quickly"))
        await rig.line.wait(m.TurnTimed, 4)
        rig.line.give(m.Configure(replace(BRIEF, turn_detection=None)), said("nobody listens"))
        rig.line.give(m.CommitAudio(), m.Configure(BRIEF))
        await turn(rig, "are you there", 5)
    [name] = names(tmp_path)
    path = tmp_path / name
    lines = read_record(path)
    replay = replayed(lines)
    assert replay.differences == []
    assert replay.state is State.CLOSED
    events = [line["event"] for line in lines if "event" in line]
    assert {"VOICE_RESUMED", "INTERRUPTION_JUDGED", "TURN_COMMITTED"} < set(events)
    assert [line["at"] for line in lines[1:]] == sorted(line["at"] for line in lines[1:])
    text = path.read_text()
    assert "hello" not in text, "what is said stays out of the recording"
    assert BRIEF.instructions not in text


async def test_a_call_is_not_recorded_unless_the_settings_say_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    async with calling() as rig:
        await turn(rig, "hello there")
    assert not names(tmp_path)


async def test_only_the_newest_recordings_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"call_{number}.jsonl").touch()
        os.utime(tmp_path / f"call_{number}.jsonl", (number, number))
    (tmp_path / "notes.txt").touch()
    async with calling(record_dir=tmp_path, options=CallOptions(prefill=False, record_calls=3)):
        pass
    assert names(tmp_path) == {"call_3.jsonl", "call_4.jsonl", "call_rig.jsonl", "notes.txt"}


async def test_a_folder_that_cannot_be_written_costs_the_recording_and_not_the_call(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with calling(record_dir=tmp_path / "file") as rig:
        await turn(rig, "hello there")


@pytest.mark.parametrize("count", [WAITING_LINES + 100, 10])
async def test_a_recording_takes_so_much_and_no_more(tmp_path: Path, count: int) -> None:
    file = RecordFile(tmp_path / "call_1.jsonl")
    for number in range(count):
        file.write({"number": number, "text": "x" * (LARGEST_BYTES // 5 if count == 10 else 1)})
    file.close()
    await file.run()
    lines = read_record(tmp_path / "call_1.jsonl")
    assert [line["number"] for line in lines] == list(range(4 if count == 10 else WAITING_LINES))


# --- the command


def test_the_command_says_what_comes_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, lines = next(iter(CALLS.items()))
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert main(["replay", str(path), "--steps"]) == 0
    assert "VOICE_STARTED" in capsys.readouterr().out
    step = next(line for line in lines if line.get("event") == "TURN_OVER")
    path.write_text("".join(json.dumps(line | {"state": "HELD"} if line is step else line) + "\n" for line in lines))
    assert main(["replay", str(path)]) == 1
    assert "TURN_OVER leads to THINKING, recorded was HELD" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"at": 1, "voice": [1]}', '{"format": 99}', '{"format": 1}'])
def test_other_files_are_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(text)
    assert main(["replay", str(path)]) == 2
    assert "recorded call" in capsys.readouterr().err
