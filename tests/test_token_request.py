import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.errors import BadRequest
from serve_app.rooms.choices import MAX_METADATA_BYTES
from serve_app.rooms.request import (
    AGENT_PREFIX,
    CHOSEN_BY_CLIENTS,
    MAX_BODY_BYTES,
    MAX_NAME_CHARS,
    OURS,
    TokenRequest,
    read_request,
)

AGENT = "antiphon"


def read(asked: Any) -> TokenRequest:
    return read_request(json.dumps(asked).encode(), AGENT)


@pytest.mark.parametrize("body", [b"", b"  \n", b"{}", b'{"room_name": null, "participant_identity": ""}'])
def test_who_asks_for_nothing_gets_a_room_and_a_name_of_their_own(body: bytes) -> None:
    one, two = read_request(body, AGENT), read_request(body, AGENT)
    assert one.room_name.startswith("room-")
    assert one.participant_identity.startswith("caller-")
    assert one.room_name != two.room_name
    assert one.participant_identity != two.participant_identity


def test_everything_that_may_be_asked_for() -> None:
    config = {"empty_timeout": 9, "departure_timeout": None, "max_participants": 3, "metadata": "m", "name": "from"}
    asked = read(
        {
            "room_name": "r",
            "participant_identity": "me",
            "participant_name": "Me",
            "participant_metadata": "any",
            "participant_attributes": {"antiphon.voice": "joe", "colour": "red"},
            "room_config": {**config, "agents": [{"agent_name": AGENT, "metadata": '{"voice": "amy"}'}]},
        }
    )
    assert asked == TokenRequest(
        "r",
        "me",
        "Me",
        "any",
        {"antiphon.voice": "joe", "colour": "red"},
        {name: value for name, value in config.items() if value is not None},
        '{"voice": "amy"}',
    )
    assert read({"room_config": {"name": "from", "agents": [{}]}}).room_name == "from"


@pytest.mark.parametrize(
    ("asked", "field", "code"),
    [
        ({"room": "r"}, "room", "unknown_parameter"),
        ({"agent_metadata": "{}"}, "agent_metadata", "unknown_parameter"),
        ({"room_name": 3}, "room_name", "invalid_type"),
        ({"room_name": "x" * (MAX_NAME_CHARS + 1)}, "room_name", "too_long"),
        ({"participant_identity": f"{AGENT_PREFIX}x"}, "participant_identity", "not_allowed"),
        ({"participant_metadata": "x" * (MAX_METADATA_BYTES + 1)}, "participant_metadata", "too_long"),
        ({"participant_attributes": []}, "participant_attributes", "invalid_type"),
        ({"participant_attributes": {"a": 1}}, "participant_attributes", "invalid_type"),
        ({"participant_attributes": {"a": "x" * MAX_METADATA_BYTES}}, "participant_attributes", "too_long"),
        ({"room_config": 1}, "room_config", "invalid_type"),
        ({"room_config": {"egress": {}}}, "room_config.egress", "not_allowed"),
        ({"room_config": {"max_participants": -1}}, "room_config.max_participants", "invalid_value"),
        ({"room_config": {"empty_timeout": True}}, "room_config.empty_timeout", "invalid_value"),
        ({"room_config": {"departure_timeout": 1.5}}, "room_config.departure_timeout", "invalid_value"),
        ({"room_config": {"name": 1}}, "room_config.name", "invalid_type"),
        ({"room_config": {"name": "x" * (MAX_NAME_CHARS + 1)}}, "room_config.name", "too_long"),
        ({"room_config": {"metadata": []}}, "room_config.metadata", "invalid_type"),
        ({"room_config": {"agents": {}}}, "room_config.agents", "invalid_type"),
        ({"room_config": {"agents": [1]}}, "room_config.agents", "invalid_type"),
        ({"room_config": {"agents": [{"job": 1}]}}, "room_config.agents[0].job", "not_allowed"),
        ({"room_config": {"agents": [{"agent_name": "x"}]}}, "room_config.agents[0].agent_name", "not_allowed"),
        ({"room_config": {"agents": [{"metadata": 1}]}}, "room_config.agents[0].metadata", "invalid_type"),
        ({"room_config": {"agents": [{}, {"metadata": "{"}]}}, "room_config.agents[1].metadata", "invalid_json"),
        (
            {"room_config": {"agents": [{"metadata": '{"x": 1}'}]}},
            "room_config.agents[0].metadata.x",
            "unknown_parameter",
        ),
        ([], None, "invalid_type"),
        ({"participant_name": "\ud800"}, None, "invalid_json"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_refused(asked: Any, field: str | None, code: str) -> None:
    with pytest.raises(BadRequest) as wrong:
        read(asked)
    assert (wrong.value.field, wrong.value.code) == (field, code)


@pytest.mark.parametrize("name", [f"{ours}x" for ours in OURS] + list(OURS[1:]))
def test_callers_do_not_pass_for_agents(name: str) -> None:
    with pytest.raises(BadRequest) as wrong:
        read({"participant_attributes": {name: "x"}})
    assert (wrong.value.field, wrong.value.code) == (f"participant_attributes.{name}", "not_allowed")


def test_a_body_that_is_too_long() -> None:
    with pytest.raises(BadRequest) as wrong:
        read_request(b" " * (MAX_BODY_BYTES + 1), AGENT)
    assert wrong.value.code == "too_long"


ANY_TEXT = st.text(st.characters(), max_size=12)  # halves of surrogate pairs too
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=5,
)
CONFIGS = st.dictionaries(st.sampled_from(CHOSEN_BY_CLIENTS) | ANY_TEXT, VALUES, max_size=3)
AGENTS = st.lists(st.dictionaries(st.sampled_from(("agent_name", "metadata")), ANY_TEXT | VALUES), max_size=2)
WISHES = st.dictionaries(
    st.sampled_from(list(TokenRequest.__dataclass_fields__)) | ANY_TEXT,
    VALUES | CONFIGS | st.fixed_dictionaries({"agents": AGENTS}),
    max_size=4,
)
BODIES = (WISHES | VALUES).map(lambda asked: json.dumps(asked).encode()) | st.binary(max_size=60)


def refused(body: bytes) -> BadRequest | None:
    """Where it is not, nothing was granted that is not a client's."""
    try:
        asked = read_request(body, AGENT)
    except BadRequest as wrong:
        return wrong
    assert 0 < len(asked.room_name) <= MAX_NAME_CHARS
    assert 0 < len(asked.participant_identity) <= MAX_NAME_CHARS
    assert not asked.participant_identity.startswith(AGENT_PREFIX)
    assert set(asked.room_config) <= set(CHOSEN_BY_CLIENTS) - {"agents"}
    assert not any(name.startswith(OURS) for name in asked.participant_attributes)
    return None


@given(BODIES)
def test_whatever_comes_is_granted_or_refused_by_name(body: bytes) -> None:
    wrong = refused(body)
    if wrong is not None:
        assert (wrong.field is None) == (str(wrong) == "The request must be a JSON object.")
        json.dumps({"message": str(wrong), "field": wrong.field}, ensure_ascii=False).encode()  # can be sent
