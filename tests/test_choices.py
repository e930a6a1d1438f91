import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.contracts import Capabilities
from deployments.errors import BadRequest
from serve_app.conversation.history import MAX_TEXT_CHARS
from serve_app.conversation.items import CallSettings
from serve_app.directory import Directory
from serve_app.rooms.choices import LOOPBACK, MAX_METADATA_BYTES, PREFIX, TEXTS, Choices, Known, choose, read_metadata
from tests.directory_kit import directory_of

DEFAULTS = CallSettings("Be brief.")
VOICES, LANGUAGES = ("amy", "joe"), ("en", "de")


def directory() -> Directory:
    found = directory_of()
    found.learn("asr", Capabilities(languages=LANGUAGES))
    found.learn("tts", Capabilities(voices=VOICES))
    return found


KNOWN = Known(directory().settle, allow_loopback=True)


@pytest.mark.parametrize(
    ("metadata", "attributes", "expected"),
    [
        ("", {}, Choices(DEFAULTS)),
        (" \n", {}, Choices(DEFAULTS)),
        ("{}", {"name": "x", "antiphon.call_id": "call_1"}, Choices(DEFAULTS)),
        ('{"instructions": "Sing."}', {}, Choices(CallSettings("Sing."))),
        ('{"voice": "joe", "language": "de"}', {}, Choices(CallSettings("Be brief.", voice="joe", language="de"))),
        ('{"voice": "amy"}', {"antiphon.voice": "joe"}, Choices(CallSettings("Be brief.", voice="joe"))),
        ('{"voice": "amy"}', {"antiphon.voice": ""}, Choices(CallSettings("Be brief.", voice="amy"))),
        ("", {"antiphon.instructions": "Hum."}, Choices(CallSettings("Hum."))),
        ('{"loopback": true}', {}, Choices(DEFAULTS, loopback=True)),
        ('{"loopback": false}', {}, Choices(DEFAULTS)),
        ('{"models": "asr,tts"}', {}, Choices(CallSettings("Be brief.", models=("asr", "tts")))),
        ("", {"antiphon.models": " asr  tts "}, Choices(CallSettings("Be brief.", models=("asr", "tts")))),
    ],
)
def test_what_is_chosen(metadata: str, attributes: dict[str, str], expected: Choices) -> None:
    assert choose(metadata, attributes, DEFAULTS, KNOWN) == expected


@pytest.mark.parametrize(
    ("metadata", "attributes", "field", "code"),
    [
        ("no json", {}, "metadata", "invalid_json"),
        ("[" * 100_000, {}, "metadata", "too_long"),
        ("[" * 60_000, {}, "metadata", "invalid_json"),
        ("[1]", {}, "metadata", "invalid_type"),
        ("3", {}, "metadata", "invalid_type"),
        ("null", {}, "metadata", "invalid_type"),
        ('{"volume": 3}', {}, "metadata.volume", "unknown_parameter"),
        ('{"voice": 3}', {}, "metadata.voice", "invalid_type"),
        ('{"loopback": 1}', {}, "metadata.loopback", "invalid_type"),
        ('{"voice": "nobody"}', {}, "metadata.voice", "invalid_value"),
        ('{"language": "xx"}', {}, "metadata.language", "invalid_value"),
        ("", {"antiphon.voice": "nobody"}, "antiphon.voice", "invalid_value"),
        ('{"models": "asr big"}', {}, "metadata.models", "invalid_value"),
        ('{"models": ["asr"]}', {}, "metadata.models", "invalid_type"),
        ("", {"antiphon.models": "tts, tts"}, "antiphon.models", "invalid_value"),
        ('{"needs": "tts.cloning"}', {}, "metadata.needs", "invalid_value"),
        ("", {"antiphon.needs": "asr.hearing"}, "antiphon.needs", "invalid_value"),
        ("", {"antiphon.language": "xx"}, "antiphon.language", "invalid_value"),
        (json.dumps({"instructions": "x" * (MAX_TEXT_CHARS + 1)}), {}, "metadata", "too_long"),
        ("", {"antiphon.instructions": "x" * (MAX_TEXT_CHARS + 1)}, "antiphon.instructions", "string_above_max_length"),
        ('{"instructions": "\\ud800"}', {}, "metadata", "invalid_json"),
        ('{"instructions": "\ud800"}', {}, "metadata", "invalid_json"),
    ],
    ids=str,
)
def test_what_is_refused(metadata: str, attributes: dict[str, str], field: str, code: str) -> None:
    with pytest.raises(BadRequest) as wrong:
        choose(metadata, attributes, DEFAULTS, KNOWN)
    assert (wrong.value.field, wrong.value.code) == (field, code)


def test_an_echo_only_where_it_is_allowed() -> None:
    with pytest.raises(BadRequest) as wrong:
        choose('{"loopback": true}', {}, DEFAULTS, Known(directory_of().settle, allow_loopback=False))
    assert wrong.value.field == "metadata.loopback"


def test_where_nothing_is_known_anything_may_be_asked_for() -> None:
    """The models have not said yet what they can: what they cannot fails when they are asked."""
    chosen = choose('{"voice": "x", "language": "y"}', {}, DEFAULTS, Known(directory_of().settle, allow_loopback=False))
    assert (chosen.settings.voice, chosen.settings.language) == ("x", "y")


ANY_TEXT = st.text(st.characters(), max_size=20)  # halves of surrogate pairs too
NAMES = st.sampled_from((*TEXTS, LOOPBACK)) | ANY_TEXT
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.sampled_from(VOICES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
METADATA = VALUES.map(json.dumps) | st.dictionaries(NAMES, VALUES, max_size=4).map(json.dumps) | ANY_TEXT
ATTRIBUTES = st.dictionaries(st.sampled_from([PREFIX + name for name in TEXTS]) | ANY_TEXT, ANY_TEXT, max_size=4)


def refused(metadata: str, attributes: dict[str, str]) -> BadRequest | None:
    """Where it is not, what is chosen is known."""
    try:
        chosen = choose(metadata, attributes, DEFAULTS, KNOWN)
    except BadRequest as wrong:
        return wrong
    assert chosen.settings.voice in (None, *VOICES)
    assert chosen.settings.language in (None, *LANGUAGES)
    return None


@given(METADATA, ATTRIBUTES)
def test_whatever_comes_is_understood_or_refused_by_name(metadata: str, attributes: dict[str, str]) -> None:
    wrong = refused(metadata, attributes)
    if wrong is not None:
        assert str(wrong)
        assert wrong.field is not None
        assert wrong.field.startswith(("metadata", PREFIX))


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.sampled_from(("metadata", "room_config.agents[0].metadata")))
def test_errors_are_named_by_where_the_metadata_stands(found: dict[str, Any], field: str) -> None:
    named = {field} | {f"{field}.{name}" for name in found}
    try:
        assert read_metadata(json.dumps(found), field) == found
    except BadRequest as wrong:
        named.remove(wrong.field or "nothing")  # raises where it is none of them


def test_metadata_is_measured_in_bytes() -> None:
    with pytest.raises(BadRequest) as wrong:
        read_metadata(json.dumps({"instructions": "ß" * (MAX_METADATA_BYTES // 2)}, ensure_ascii=False))
    assert wrong.value.code == "too_long"
