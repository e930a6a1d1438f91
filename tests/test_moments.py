"""What servers tell, in one set of words."""

from typing import Any

from loadtest.moments import Moment, Notes
from loadtest.room_facts import Fact, Problem, StateChanged, TurnTimed, Words

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def told(*said: Fact | dict[str, Any]) -> Notes:
    """One a sample."""
    times = iter(range(100))
    notes = Notes(lambda: next(times))
    for one in said:
        if isinstance(one, dict):
            notes.event(one)
        else:
            notes.fact(one)
    return notes


def test_of_a_room() -> None:
    notes = told(
        StateChanged("hearing"),
        Words(False, "q0", "hel", False),
        Words(False, "q0", "hello", True),
        StateChanged("thinking"),
        Words(True, "a0", "hi", False),
        StateChanged("held"),
        TurnTimed({"outcome": "interrupted"}),
        Problem("x", "something is wrong"),
    )
    assert [(moment.kind, moment.text) for moment in notes.moments] == [
        ("state", "hearing"),
        ("hears_voice", ""),
        ("partial", "hel"),
        ("final", "hello"),
        ("state", "thinking"),
        ("answer_begins", ""),
        ("agent_text", "hi"),
        ("state", "held"),
        ("hears_voice", ""),
        ("timeline", ""),
        ("outcome", "cancelled"),
        ("problem", "something is wrong"),
    ]
    assert notes.busy
    notes.fact(StateChanged("idle"))
    assert not notes.busy


def test_of_the_socket_where_deltas_add_up() -> None:
    notes = told(
        {"type": "session.created"},
        {"type": "input_audio_buffer.speech_started"},
        {"type": f"{TRANSCRIPTION}.delta", "item_id": "q0", "delta": "hel"},
        {"type": f"{TRANSCRIPTION}.delta", "item_id": "q0", "delta": "lo"},
        {"type": f"{TRANSCRIPTION}.completed", "item_id": "q0", "transcript": "hello"},
        {"type": "response.created", "response": {"id": "r0"}},
        {"type": "response.output_audio_transcript.delta", "item_id": "a0", "delta": "hi"},
        {"type": "conversation.item.truncated", "item_id": "a0"},
        {"type": "response.done", "response": {"id": "r0", "status": "cancelled"}},
        {"type": "conversation.item.retrieved", "item": {"id": "a0", "content": [{"transcript": "h"}]}},
        {"type": "antiphon.timeline.v1", "timeline": {"turn": 0}},
        {"type": "error", "error": {"message": "no"}},
    )
    assert notes.moments[:4] == [
        Moment(0, "hears_voice"),
        Moment(1, "partial", "hel", "q0"),
        Moment(2, "partial", "hello", "q0"),
        Moment(3, "final", "hello", "q0"),
    ]
    assert [(moment.kind, moment.text) for moment in notes.moments[4:]] == [
        ("answer_begins", ""),
        ("agent_text", "hi"),
        ("cut", ""),
        ("outcome", "cancelled"),
        ("history", "h"),
        ("timeline", ""),
        ("problem", "no"),
    ]


def test_words_that_are_told_whole_are_not_told_again_by_deltas() -> None:
    so_far = {"type": "antiphon.transcript.v1", "item_id": "q0", "stable_characters": 4}
    notes = told(
        {**so_far, "text": "what his"},
        {**so_far, "text": "what is it"},
        {"type": f"{TRANSCRIPTION}.delta", "item_id": "q0", "delta": "What is it?"},
        {"type": f"{TRANSCRIPTION}.completed", "item_id": "q0", "transcript": "What is it?"},
    )
    assert notes.moments == [
        Moment(0, "partial", "what his", "q0", stable=4),
        Moment(1, "partial", "what is it", "q0", stable=4),
        Moment(2, "final", "What is it?", "q0"),
    ]


def test_an_answer_that_is_held_back_tells_that_a_voice_is_heard() -> None:
    notes = told(*({"type": "antiphon.state.v1", "state": state} for state in ("hearing", "held")))
    kinds = [moment.kind for moment in notes.moments]
    assert kinds == ["state", "state", "hears_voice"]  # hearing has an event of the protocol's own


def test_who_tells_no_state_is_busy_while_a_response_is_open_or_a_voice_heard() -> None:
    notes = Notes(lambda: 0)
    assert not notes.busy
    assert not notes.knows_state
    for event, busy in (
        ({"type": "input_audio_buffer.speech_started"}, True),
        ({"type": "input_audio_buffer.committed"}, False),
        ({"type": "response.created", "response": {"id": "r"}}, True),
        ({"type": "response.done", "response": {"id": "r", "status": "completed"}}, False),
    ):
        notes.event(event)
        assert notes.busy == busy
        assert notes.knows_state
