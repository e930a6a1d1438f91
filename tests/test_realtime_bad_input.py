"""Whatever a client gets wrong: an error that names it, and the same session then completes a turn."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.realtime_bad_input import BAD_INPUT, REF, Bad, has_ref
from tests.realtime_kit import Client, connected

ASK = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "still there?"}]}


def send(client: Client, frame: str | bytes) -> None:
    if isinstance(frame, bytes):
        client.websocket.send_bytes(frame)
    else:
        client.websocket.send_text(frame)


def complete_a_turn(client: Client) -> list[dict[str, Any]]:
    client.send({"type": "conversation.item.create", "item": ASK}, {"type": "response.create"})
    events = client.until("response.done")
    assert events[-1]["response"]["status"] == "completed"
    return events


def test_there_are_many_kinds_and_each_has_a_name() -> None:
    assert len({bad.name for bad in BAD_INPUT}) == len(BAD_INPUT) >= 40


@pytest.mark.parametrize("bad", BAD_INPUT, ids=lambda bad: bad.name)
def test_an_error_names_what_was_wrong_and_the_session_goes_on(bad: Bad) -> None:
    with connected() as (client, _):
        for frame in bad.frames:
            send(client, frame)
        error = client.until("error")[-1]["error"]
        assert error["type"] == "invalid_request_error"
        assert bad.named in f"{error['message']} {error['param']}"
        assert bad.code in (None, error["code"])
        assert error["event_id"] == (REF if has_ref(bad) else None)
        assert not [event for event in complete_a_turn(client) if event["type"] == "error"]


def test_a_refused_update_changes_nothing() -> None:
    with connected() as (client, call):
        wrong = {"type": "realtime", "instructions": "New.", "audio": {"output": {"voice": "nobody"}}}
        client.send({"type": "session.update", "session": wrong})
        client.until("error")
        client.send({"type": "session.update", "session": {"type": "realtime", "max_output_tokens": 7}})
        session = client.until("session.updated")[-1]["session"]
        assert session["instructions"] == "Be brief."
        assert call.settings is not None
        assert (call.settings.instructions, call.settings.max_output_tokens) == ("Be brief.", 7)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
TYPES = sorted(
    {
        frame.split('"type": "')[1].split('"')[0]
        for bad in BAD_INPUT
        for frame in bad.frames[:1]
        if isinstance(frame, str) and '"type": "' in frame and len(frame) < 1000
    }
)
FIELDS = ["session", "audio", "item", "item_id", "response", "previous_item_id", "content_index", "event_id"]
EVENTS = st.builds(
    lambda kind, fields: {"type": kind, **fields},
    st.sampled_from(TYPES) | JSON,
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3),
)


def test_no_json_kills_the_session() -> None:
    with connected() as (client, _):

        @settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(EVENTS | JSON)
        def survives(thing: Any) -> None:
            client.websocket.send_json(thing)

        survives()
        client.send({"type": "conversation.item.retrieve", "item_id": "the_end", "event_id": "the_end"})
        while client.until("error")[-1]["error"]["event_id"] != "the_end":
            pass
        complete_a_turn(client)
