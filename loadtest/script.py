"""The cases of a conversation to play, read from YAML and checked: who says what when, over which noise and echo.

`conversation.yaml` beside this file says what every word means, by example. Pure: sounds are made by `repertoire`.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from loadtest.wire import CallFailed

OWN_CASES = Path(__file__).with_name("conversation.yaml")


class BadScript(CallFailed):
    """The file of cases is wrong; the message says where, and what to write."""


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


def _list(value: Any) -> Any:
    """One sound alone is a list of one; a string is words to say."""
    parts = value if isinstance(value, list | tuple) else [value]
    return [{"text": part} if isinstance(part, str) else part for part in parts]


Ms = Annotated[int, Field(ge=0, le=60_000)]
Span = Annotated[tuple[Ms, Ms], BeforeValidator(_pair)]
"""Milliseconds: one number, or [least, most] between which the seed decides."""
Db = Annotated[float, Field(ge=-90, le=0)]


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Words):
    """One piece of sound, or a pause between two pieces. Exactly one of the first five says what it is."""

    sentence: int | None = Field(None, ge=1)
    text: str | None = Field(None, min_length=1)
    file: str | None = Field(None, min_length=1)
    make: Literal["cough", "chords", "pink_noise", "mhm"] | None = None
    pause_ms: Span | None = None
    seconds: float = Field(2.0, gt=0, le=60)
    level_db: Db | None = None
    otherwise: "Sound | None" = None

    @model_validator(mode="after")
    def _one_of(self) -> "Part":
        kinds = ("sentence", "text", "file", "make", "pause_ms")
        given = [name for name in kinds if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise ValueError(f"write exactly one of {', '.join(kinds)}; here is {found}")
        if self.otherwise is not None and self.file is None:
            raise ValueError("`otherwise` belongs to a `file`: what sounds where it is not found")
        return self


Sound = Annotated[tuple[Part, ...], BeforeValidator(_list), Field(min_length=1)]


class Over(_Words):
    """A sound while the agent is audible, so long after its answer began to sound."""

    kind: Literal["interruption", "backchannel", "noise"]
    called: Literal["cough", "music", "mhm", "yeah", "right"] | None = None
    after_ms: Span
    sound: Sound


class Turn(_Words):
    """The caller says something, the agent answers; `over` its answer, one after another, more may sound. Of an answer
    only the first `hear_ms` are heard, where that is given: then it is stopped by an order."""

    say: Sound
    before_ms: Span = (500, 500)
    over: tuple[Over, ...] = ()
    hear_ms: Ms | None = None


class Echo(_Words):
    """What the caller hears comes back through their microphone."""

    delay_ms: Ms
    level_db: Db


Size = Literal["small", "full"]


class Times(_Words):
    """How often a case is played in a run of each size."""

    small: int = Field(1, ge=1, le=1000)
    full: int = Field(1, ge=1, le=1000)


class Case(_Words):
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    about: str = ""
    turns: tuple[Turn, ...] = Field(min_length=1)
    echo: Echo | None = None
    noise: Sound | None = None
    noise_below_db: float | None = Field(None, ge=-20, le=60)
    times: Times = Times()
    calls: int = Field(1, ge=1, le=16)
    floor: bool = False

    @model_validator(mode="after")
    def _noise_is_there(self) -> "Case":
        if self.noise_below_db is not None and self.noise is None:
            raise ValueError("`noise_below_db` belongs to a `noise`: so far below the caller's voice it sounds")
        return self


class Script(_Words):
    cases: tuple[Case, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_differ(self) -> "Script":
        names = [case.name for case in self.cases]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two cases have the name {twice[0]}: give each its own")
        return self

    def only(self, names: Sequence[str]) -> tuple[Case, ...]:
        """These cases, in the order of the file; all where none is named. Raises BadScript."""
        known = [case.name for case in self.cases]
        if unknown := [name for name in names if name not in known]:
            raise BadScript(f"there is no case {unknown[0]}; there are: {', '.join(known)}")
        return tuple(case for case in self.cases if case.name in names or not names)


def read_script(path: Path) -> Script:
    """Raises BadScript."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as unreadable:
        raise BadScript(f"{path}: {unreadable}") from unreadable
    except yaml.YAMLError as wrong:
        raise BadScript(f"{path} is no YAML: {' '.join(str(wrong).split())}") from wrong
    if not isinstance(content, dict):
        raise BadScript(f"{path}: write `cases:` and below it a list of cases, each with `name` and `turns`")
    try:
        return Script.model_validate(content)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        raise BadScript(f"{path}: {_place(first['loc'], content)}{_what_to_write(first)}") from wrong


MODELS: dict[str, type[_Words]] = {"cases": Case, "turns": Turn, "over": Over, "echo": Echo, "times": Times}
"""What stands below a word; below all others are parts of a sound."""


PLAINLY = {
    "missing": "this is missing",
    "too_short": "write at least one",
    "tuple_type": "write a list",
    "model_type": "write its words, as in {sentence: 1}",
    "string_pattern_mismatch": "a name is made of small letters, digits and _",
}


def _place(loc: Sequence[int | str], content: Any) -> str:
    """`case stop, turns[0].over[1].kind: `; lists are counted from 0."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in loc)
    begun = re.match(r"\.cases\[(\d+)\]\.?", words)
    case = content["cases"][int(begun.group(1))] if begun else None
    if begun and isinstance(case, dict) and isinstance(case.get("name"), str):
        return f"case {case['name']}, {words[begun.end() :]}: ".replace(", : ", ": ")
    return f"{words.lstrip('.')}: " if words else ""


def _what_to_write(error: Any) -> str:
    if error["type"] in PLAINLY:
        return PLAINLY[error["type"]]
    if error["type"] == "extra_forbidden":
        above = [step for step in error["loc"][:-1] if isinstance(step, str)]
        known = MODELS.get(above[-1], Part) if above else Script
        return f"there is no such word here; there are: {', '.join(known.model_fields)}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return message if error["type"] == "value_error" else f"{message}; here is {error['input']!r}"
