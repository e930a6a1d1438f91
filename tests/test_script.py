"""The cases of a conversation: the ones that are shipped, and what is said of a wrong file."""

from pathlib import Path

import pytest

from loadtest.script import OWN_CASES, BadScript, read_script


def script(folder: Path, text: str) -> Path:
    path = folder / "cases.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_cases_are_of_every_kind() -> None:
    cases = read_script(OWN_CASES).cases
    assert {over.kind for case in cases for turn in case.turns for over in turn.over} == {
        "interruption",
        "backchannel",
        "noise",
    }
    assert sorted(case.echo.delay_ms for case in cases if case.echo) == [80, 160, 250]
    assert any(case.noise for case in cases)
    assert all(case.about for case in cases)
    pauses = [part.pause_ms for case in cases for turn in case.turns for part in turn.say if part.pause_ms]
    assert min(least for least, _ in pauses) == 300
    assert max(most for _, most in pauses) == 900


def test_a_full_run_has_enough_of_everything() -> None:
    cases = [case for case in read_script(OWN_CASES).cases for _ in range(case.times.full)]
    in_peace = [turn for case in cases if case.calls == 1 and not case.echo and not case.noise for turn in case.turns]
    over = [over for case in cases for turn in case.turns for over in turn.over]
    echoes = [turn for case in cases if case.echo for turn in case.turns if not turn.over]
    assert sum(case.floor * len(case.turns) for case in cases) >= 30
    assert sum(any(part.pause_ms or part.file for part in turn.say) for turn in in_peace) >= 40
    assert sum(each.kind == "interruption" for each in over) >= 40
    assert sum(each.kind != "interruption" for each in over) + len(echoes) >= 60
    assert {each.called for each in over} >= {"cough", "music", "mhm", "yeah", "right"}
    assert max(case.calls for case in cases) == 3


def test_one_sound_is_a_list_of_one_and_a_string_is_words(tmp_path: Path) -> None:
    mixed = "{say: [hi, {pause_ms: [1, 3]}, {sentence: 1}]}"
    text = f"cases: [{{name: a, turns: [{{say: hello}}, {{say: {{sentence: 2}}}}, {mixed}]}}]"
    turns = read_script(script(tmp_path, text)).cases[0].turns
    assert [part.text for part in turns[0].say] == ["hello"]
    assert [part.sentence for part in turns[1].say] == [2]
    assert [part.pause_ms for part in turns[2].say] == [None, (1, 3), None]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "is no YAML"),
        ("[]", "write `cases:` and below it a list of cases"),
        ("{}", "cases: this is missing"),
        ("cases: []", "cases: write at least one"),
        ("cases: 3", "cases: write a list"),
        ("cases: [3]", "cases[0]: write its words"),
        ("cases: [{turns: [{say: hi}]}]", "cases[0].name: this is missing"),
        ("cases: [{name: A b, turns: [{say: hi}]}]", "case A b, name: a name is made of small letters"),
        ("cases: [{name: a}]", "case a, turns: this is missing"),
        ("cases: [{name: a, turns: [{say: hi, ovr: 1}]}]", "turns[0].ovr: there is no such word here; there are: say,"),
        ("cases: [{name: a, turns: [{say: {sentece: 1}}]}]", "case a, turns[0].say[0].sentece: there is no such word"),
        (
            "cases: [{name: a, turns: [{say: {sentence: 1, text: b}}]}]",
            "turns[0].say[0]: write exactly one of sentence, text, file, make, pause_ms; here is sentence and text",
        ),
        ("cases: [{name: a, turns: [{say: {level_db: -3}}]}]", "here is none of them"),
        ("cases: [{name: a, turns: [{say: {text: b, otherwise: c}}]}]", "`otherwise` belongs to a `file`"),
        ("cases: [{name: a, turns: [{say: []}]}]", "case a, turns[0].say: write at least one"),
        (
            "cases: [{name: a, turns: [{say: {make: bark}}]}]",
            "say[0].make: Input should be 'cough', 'chords'",
        ),
        (
            "cases: [{name: a, turns: [{say: hi, over: [{kind: hm, after_ms: 3, sound: x}]}]}]",
            "case a, turns[0].over[0].kind: Input should be 'interruption', 'backchannel' or 'noise'; here is 'hm'",
        ),
        ("cases: [{name: a, echo: {delay_ms: 80}, turns: [{say: hi}]}]", "case a, echo.level_db: this is missing"),
        ("cases: [{name: a, noise_below_db: 10, turns: [{say: x}]}]", "case a: `noise_below_db` belongs to a `noise`"),
        ("cases: [{name: a, times: {full: 0}, turns: [{say: x}]}]", "case a, times.full: "),
        (
            "cases: [{name: a, times: {ful: 3}, turns: [{say: x}]}]",
            "times.ful: there is no such word here; there are",
        ),
        ("cases: [{name: a, turns: [{say: x}]}, {name: a, turns: [{say: x}]}]", "two cases have the name a"),
    ],
)
def test_a_wrong_file_is_named_with_the_place_and_what_to_write(text: str, complaint: str, tmp_path: Path) -> None:
    path = script(tmp_path, text)
    with pytest.raises(BadScript) as wrong:
        read_script(path)
    assert str(wrong.value).startswith(str(path))
    assert complaint in str(wrong.value)
    assert "\n" not in str(wrong.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadScript, match="No such file"):
        read_script(tmp_path / "cases.yaml")


def test_some_of_them_are_chosen_by_name() -> None:
    own = read_script(OWN_CASES)
    assert [case.name for case in own.only(["stop", "plain"])] == ["plain", "stop"]
    assert own.only([]) == own.cases
    with pytest.raises(BadScript, match=r"there is no case stopp; there are: plain, "):
        own.only(["stopp"])
