"""What is said about a wrong config: a path, what is wrong, the nearest remedy."""

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from serve_app.problems import explain, is_secret, unknown_keys


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    deadline_s: float = 1.0
    pause_ms: int = 64
    api_key: float = 0


class Outer(BaseModel):
    inner: Inner = Inner()
    items: list[Inner] = []


@pytest.mark.parametrize(
    ("inner", "line"),
    [
        ({"deadlne_s": 1}, 'args.inner.deadlne_s: unknown key; did you mean "deadline_s"?'),
        ({"deadline_ms": 1}, 'args.inner.deadline_ms: unknown key; did you mean "deadline_s" (in s)?'),
        ({"zzz": 1}, "args.inner.zzz: unknown key; known: deadline_s, pause_ms, api_key"),
        (
            {"deadline_s": "5s"},
            'args.inner.deadline_s: expected a number, not "5s": the unit is in the name, write 5',
        ),
        (
            {"pause_ms": "0.5 s"},
            'args.inner.pause_ms: expected a number, not "0.5 s": the unit is in the name, write 500',
        ),
        ({"api_key": "hunter2"}, "args.inner.api_key: expected a number"),
    ],
)
def test_one_line_each(inner: dict[str, object], line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate({"inner": inner})
    assert [str(problem) for problem in explain(caught.value, Outer, ("args",))] == [line]


def test_keys_that_a_model_would_pass_over() -> None:
    found = unknown_keys({"iner": {}, "items": [{}, {"pause_s": 1}]}, Outer)
    assert [str(problem) for problem in found] == [
        'iner: unknown key; did you mean "inner"?',
        'items[1].pause_s: unknown key; did you mean "pause_ms" (in ms)?',
    ]


@pytest.mark.parametrize(("name", "secret"), [("api_key", True), ("token", True), ("first_token_s", False)])
def test_secrets_are_told_by_their_names(name: str, secret: bool) -> None:
    assert is_secret(name) is secret
