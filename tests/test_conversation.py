"""`python -m loadtest.conversation` as a whole: short cases against a scripted server and a bare agent in a room."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.conversation import main, played
from loadtest.facts import Evidence
from loadtest.lines import Target
from loadtest.recording import RATE_HZ
from loadtest.repertoire import Clip
from loadtest.room_bare import BareAgent
from loadtest.room_facts import AGENT_STATE, STATE
from loadtest.room_ticket import Keys, fresh
from loadtest.script import Case
from loadtest.server import free_port
from loadtest.take import Cue, Scene, SceneTurn, Take
from loadtest.verdict import judge
from loadtest.wav import read_speech, write_wav
from loadtest.way import way_ms
from tests.room_kit import TicketDesk
from tests.scripted_server import ScriptedServer, tone
from tests.stand_in import program
from tests.system import ROOT

DEMO = ROOT / "configs" / "demo.yaml"
SCRIPT = """
cases:
  - name: question
    turns: [{before_ms: 100, say: {file: tone.wav}}, {before_ms: 100, say: {file: tone.wav}}]
  - name: stop
    turns:
      - before_ms: 100
        say: {file: tone.wav}
        over: [{kind: interruption, after_ms: 300, sound: {file: tone.wav}}]
"""


class Keeps(ScriptedServer):
    """Has a history, though only for those who ask, and says `kept` of every item."""

    async def _receive(self, event: dict[str, Any]) -> None:
        await super()._receive(event)
        if event["type"] == "conversation.item.retrieve":
            item = {"id": event["item_id"], "content": [{"type": "output_audio", "transcript": "kept"}]}
            await self._send("conversation.item.retrieved", item=item)


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    write_wav(tmp_path / "tone.wav", tone(0.4))
    (tmp_path / "cases.yaml").write_text(SCRIPT)
    config = ROOT / "configs" / "local.yaml"  # a synthetic ASR would have to be spoken to by its own voice
    (tmp_path / "transcripts.tsv").write_text("file\ttext\ntone.wav\ta tone\n")
    places = {"--cases": tmp_path / "cases.yaml", "--speech": tmp_path, "--out": tmp_path / "out", "--config": config}
    return ["--without-models", *(str(word) for pair in places.items() for word in pair)]


async def test_a_conversation_over_the_socket(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    says = program(
        tmp_path / "says", "import pathlib, sys\nassert pathlib.Path(sys.argv[1]).stat().st_size\nprint('kept')"
    )
    async with Keeps(answer_s=1.5).run() as server:
        options = ("--url", server.url, "--transport", "socket", "--transcribe", str(says))
        code = await asyncio.to_thread(main, [*words, *options])
    printed = capsys.readouterr().out
    assert code == 0
    said = json.loads(printed.splitlines()[-1])
    assert said["voice_to_voice_ms"]["n"] == 3
    assert said["barge_in_ms"]["n"] == said["barge_in_told_ms"]["n"] == 1
    assert said["missed_barge_ins"] == {"happened": 0, "chances": 1}
    assert said["false_cut_ins"] == {"happened": 0, "chances": 3}
    assert said["words_wrong"] == {"happened": 0, "chances": 6}
    assert said["plain_words_wrong"] == {"happened": 6, "chances": 6}  # "kept" is all that it hears
    assert said["late_phrases_of_long_answers"]["chances"] == 0
    assert said["phrase_late_ms"]["max"] == 0
    assert said["history_unheard_words"]["max"] == said["history_missing_words"]["max"] == 0
    assert (said["cases"], said["failed"], said["transport"]) == (2, 0, "socket")
    out = tmp_path / "out"
    kept = json.loads((out / "conversation_socket.json").read_text())
    assert {name: kept[name] for name in said} == said
    assert [take["name"] for take in kept["takes"]] == ["question_1", "stop_1"]
    assert kept["values"]["barge_in_ms"]
    page = (out / "conversation_socket.html").read_text()
    assert page.count("<audio") == 2
    assert (out / "conversation_socket.png").read_bytes().startswith(b"\x89PNG")
    for name in ("question_1", "stop_1"):
        assert (out / "conversation_socket" / f"{name}.svg").is_file()
        assert np.abs(read_speech(out / "conversation_socket" / f"{name}.wav")).max() > 1000
    assert (out / "conversation_socket" / "stop_1_heard_1.wav").is_file()


async def test_a_transcriber_that_fails_costs_its_own_row_only(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    async with Keeps(answer_s=1.5).run() as server:
        options = ("--url", server.url, "--transport", "socket", "--only", "stop", "--transcribe", "false")
        assert await asyncio.to_thread(main, [*words, *options]) == 0
    printed = capsys.readouterr().out
    assert "[1/1, 0 s] stop" in printed
    assert "stop_1_heard_1.wav was not transcribed" in printed
    said = json.loads(printed.splitlines()[-1])
    assert (said["history_unheard_words"]["n"], said["barge_in_ms"]["n"]) == (0, 1)


async def test_a_server_of_somebody_else_is_asked_for_nothing_special(words: list[str]) -> None:
    async with Keeps(answer_s=0.4).run() as server:
        options = ("--realtime-url", server.url, "--api-key", "sesame", "--only", "question")
        assert await asyncio.to_thread(main, [*words, *options]) == 0
        assert server.addressed == ["/v1/realtime?model=antiphon"]
        assert server.keys_shown == ["Bearer sesame"]


class Many(ScriptedServer):
    """Takes several calls at once, each by a server of its own."""

    calls = 0
    at_once = 0

    async def _call(self, socket: Any) -> None:
        self.calls += 1
        self.at_once = max(self.at_once, self.calls)
        await ScriptedServer(self.answer_s)._call(socket)
        self.calls -= 1


async def test_several_calls_at_once() -> None:
    together = [replace(scene("three", calls=3), beside=number) for number in range(3)]
    server = Many()
    async with server.run():
        takes = await played(Target("socket", server.url), together)
    assert server.at_once == 3
    assert [take.name for take in takes] == [f"three_1_caller_{number}" for number in (1, 2, 3)]
    for take in takes:
        assert list(judge(take).values) == ["at_once_voice_to_voice_ms", "at_once_phrase_late_ms"]


async def test_what_follows_an_interruption_sounds_over_its_answer() -> None:
    cues = [Cue("interruption", RATE_HZ // 5, Clip("a tone", tone(0.2))) for _ in range(2)]
    async with Keeps(answer_s=0.9).run() as server:
        (take,) = await played(Target("socket", server.url), [scene("again", *cues)])
    facts = judge(take)
    assert take.missed == []
    assert facts.chances["missed_barge_ins"] == [False, False]
    assert len(facts.values["interruption_answered_ms"]) == 2
    for (begun, _), said in zip(Evidence(take).voice, take.said[1:], strict=False):
        assert RATE_HZ // 7 <= said.first - begun < RATE_HZ  # after its own answer's first sound


class Obeys(Keeps):
    """Says nothing to whoever interrupts."""

    async def _answer(self, heard: str) -> None:
        self.answer_s = 9.0 if self._turn == 0 else 0.0
        await super()._answer(heard)


async def test_an_interruption_that_is_done_as_it_is_said_is_not_waited_for() -> None:
    cue = Cue("interruption", RATE_HZ // 5, Clip("a tone", tone(0.2)))
    async with Obeys().run() as server:
        (take,) = await played(Target("socket", server.url), [scene("stop", cue)])
    assert len(take.caller) < 5 * RATE_HZ
    assert judge(take).chances["missed_barge_ins"] == [False]


async def test_of_an_answer_that_is_stopped_by_an_order_the_rest_says_nothing() -> None:
    made = scene("stopped")
    async with Keeps(answer_s=9.0).run() as server:
        line = Target("socket", server.url)
        (take,) = await played(line, [replace(made, turns=(replace(made.turns[0], hear=RATE_HZ // 5),))])
        assert server.kinds().count("conversation.item.truncate") == 1
    assert len(take.agent) < 5 * RATE_HZ
    facts = judge(take)
    assert len(facts.values["voice_to_voice_ms"]) == 1
    assert "phrase_late_ms" not in facts.values
    assert facts.good


async def test_the_way_to_a_server_is_known_over_its_socket_and_in_a_room_with_its_keys_only() -> None:
    async with ScriptedServer().run() as server:
        there_and_back_ms = await way_ms(Target("socket", server.url))
        assert there_and_back_ms is not None
        assert 0 < there_and_back_ms < 1000
        assert await way_ms(Target("socket", server.url, foreign=True)) is None
    assert await way_ms(Target("room", server.url)) is None


def scene(name: str, *cues: Cue, **case: Any) -> Scene:
    clip = Clip("a tone", tone(0.4))
    turn = SceneTurn(RATE_HZ // 10, clip, cues)
    return Scene(Case.model_validate({"name": name, "turns": [{"say": "x"}], **case}), 0, (turn,))


async def test_a_conversation_in_a_room(livekit_keys: Keys) -> None:
    cue = Cue("noise", RATE_HZ // 2, Clip("a click", tone(0.1)))
    echo = {"delay_ms": 100, "level_db": -40.0}  # quieter than what the agent listens to
    async with TicketDesk(livekit_keys, lambda: BareAgent(answer_s=2.0)).run() as desk:
        scenes = [scene("noise", cue), scene("echo", echo=echo)]
        noise, echoed = await played(Target("room", desk.url), scenes)
    facts = judge(noise)
    assert (noise.failed, noise.missed) == ("", [])
    assert [said.role for said in noise.said] == ["turn", "noise"]
    assert len(facts.values["voice_to_voice_ms"]) == len(facts.values["concealed_ms"]) == 1
    assert facts.values["frame_late_ms"]
    assert facts.chances["false_barge_ins_noise"] == [False]
    assert any(moment.kind == "timeline" for moment in noise.moments)
    assert echoed.failed == ""
    assert judge(echoed).chances["false_barge_ins_echo"] == [False]
    assert loud_places(echoed) > loud_places(noise) > 0


def loud_places(take: Take) -> int:
    """Samples of the microphone after the question that are no silence."""
    asked = take.said[0].voiced_last + RATE_HZ // 10
    over = [(said.first, said.voiced_last) for said in take.said[1:]]
    after = take.caller.copy()
    for first, last in over:
        after[first + RATE_HZ // 50 : last] = 0
    return int(np.count_nonzero(after[asked:]))


class Stranger(BareAgent):
    """Does not call itself Antiphon's, and tells its state in LiveKit's way only."""

    async def tell(self, topic: str, message: Any) -> None:
        if topic == STATE:
            state = {"idle": "listening", "hearing": "listening"}.get(message["state"], message["state"])
            await self.room.local_participant.set_attributes({AGENT_STATE: state})


async def test_an_agent_of_somebody_else_in_a_room(livekit_keys: Keys) -> None:
    room, nobodys = fresh("room"), {"antiphon.agent": ""}
    async with Stranger(answer_s=0.6).run(livekit_keys.agent_ticket(room), **nobodys):
        (take,) = await played(Target("room", ticket=livekit_keys.ticket(room)), [scene("question")])
    assert take.failed == ""
    assert len(judge(take).values["voice_to_voice_ms"]) == 1
    kinds = {moment.kind for moment in take.moments}
    assert {"state", "answer_begins", "final", "agent_text"} <= kinds
    assert "timeline" not in kinds


async def test_where_nobody_answers_the_case_failed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"ws://127.0.0.1:{free_port()}"
    options = ("--url", nobody, "--transport", "socket", "--only", "question")
    assert await asyncio.to_thread(main, [*words, *options]) == 1
    assert "the call failed: nothing answers at" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--cases", "nowhere.yaml"], "nowhere.yaml: "),
        (["--only", "plane"], "there is no case plane; there are: question, stop"),
        (["--livekit-url", "ws://x"], "--livekit-url wants --token, or --agent"),
        (["--livekit-url", "ws://x", "--transport", "both"], "--transport both wants an Antiphon server"),
    ],
)
def test_what_cannot_be_played_is_said_in_one_line(
    options: list[str], complaint: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *options]) == 2
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_the_cases_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert "echo_80" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--repeat", "0"])
