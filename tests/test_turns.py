import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.conversation.turns import TRANSITIONS, Command, Event, IllegalEvent, State, step

ANSWERING = {State.THINKING, State.SPEAKING, State.HELD}

# One row a state: every event that it knows and where that leads. What is missing raises.
TABLE = """
IDLE      VOICE_STARTED>HEARING TURN_OVER>THINKING TURN_COMMITTED>IDLE TURN_DISCARDED>IDLE ANSWER_REQUESTED>THINKING
HEARING   VOICE_PAUSED>ENDING TURN_OVER>THINKING TURN_COMMITTED>IDLE TURN_DISCARDED>IDLE ANSWER_REQUESTED>THINKING
ENDING    VOICE_RESUMED>HEARING TURN_OVER>THINKING TURN_COMMITTED>IDLE TURN_DISCARDED>IDLE ANSWER_REQUESTED>THINKING
THINKING  ANSWER_AUDIBLE>SPEAKING ANSWER_ENDED>IDLE ANSWER_CANCELLED>IDLE ANSWER_REQUESTED>THINKING VOICE_STARTED>HELD
THINKING  TURN_COMMITTED>THINKING TURN_DISCARDED>THINKING
SPEAKING  ANSWER_AUDIBLE>SPEAKING ANSWER_ENDED>IDLE ANSWER_CANCELLED>IDLE ANSWER_REQUESTED>THINKING VOICE_STARTED>HELD
SPEAKING  TURN_COMMITTED>SPEAKING TURN_DISCARDED>SPEAKING
HELD      INTERRUPTION_JUDGED>HEARING FALSE_ALARM_JUDGED>SPEAKING ANSWER_AUDIBLE>HELD ANSWER_ENDED>HEARING
HELD      ANSWER_CANCELLED>HEARING ANSWER_REQUESTED>THINKING TURN_COMMITTED>SPEAKING TURN_DISCARDED>SPEAKING
"""
LEGAL = {
    (State[row.split()[0]], Event[event]): State[state]
    for row in TABLE.strip().splitlines()
    for event, state in re.findall(r"(\w+)>(\w+)", row)
} | {(state, Event.CALLER_LEFT): State.CLOSED for state in State}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)), ids=lambda value: value.name)
def test_every_event_in_every_state(state: State, event: Event) -> None:
    if (state, event) in LEGAL:
        assert step(state, event)[0] is LEGAL[state, event]
    else:
        with pytest.raises(IllegalEvent, match=f"{event.name} in state {state.name}"):
            step(state, event)


@pytest.mark.parametrize(
    ("state", "event", "commands"),
    [
        (State.HEARING, Event.VOICE_PAUSED, [Command.PREPARE_ANSWER]),
        (State.ENDING, Event.VOICE_RESUMED, [Command.DROP_PREPARED]),
        (State.ENDING, Event.TURN_OVER, [Command.COMMIT_TURN, Command.RELEASE_ANSWER]),
        (State.SPEAKING, Event.VOICE_STARTED, [Command.PAUSE_PLAYOUT]),
        (State.HELD, Event.FALSE_ALARM_JUDGED, [Command.RESUME_PLAYOUT, Command.FORGET_TURN]),
        (State.HELD, Event.INTERRUPTION_JUDGED, [Command.BEGIN_TURN, Command.STOP_ANSWER]),
        (State.HELD, Event.ANSWER_ENDED, [Command.RESUME_PLAYOUT, Command.BEGIN_TURN]),
        (State.SPEAKING, Event.CALLER_LEFT, [Command.CLOSE_STREAMS]),
        (State.CLOSED, Event.CALLER_LEFT, []),
    ],
)
def test_what_the_important_steps_command(state: State, event: Event, commands: list[Command]) -> None:
    assert list(step(state, event)[1]) == commands


def test_every_command_is_used() -> None:
    used = {command for row in TRANSITIONS.values() for _, commands in row.values() for command in commands}
    assert used == set(Command)


@given(st.data())
def test_no_sequence_of_events_confuses_the_machine(data: st.DataObject) -> None:
    state, paused, answer, prepared = State.IDLE, False, False, False
    for _ in range(data.draw(st.integers(0, 40))):
        event = data.draw(st.sampled_from(sorted(TRANSITIONS[state], key=lambda event: event.value)))
        before = state
        if event is Event.ANSWER_ENDED:
            answer = False  # it ends by itself
        state, commands = step(state, event)
        for command in commands:
            if command is Command.STOP_ANSWER:
                assert answer, "only an answer that is there can be stopped"
                answer, paused = False, False  # stopping clears the way for the next one
            elif command in (Command.START_ANSWER, Command.RELEASE_ANSWER):
                answer, prepared = True, False
            elif command is Command.PAUSE_PLAYOUT:
                paused = True
            elif command is Command.RESUME_PLAYOUT:
                paused = False
            elif command is Command.PREPARE_ANSWER:
                prepared = True
            elif command is Command.DROP_PREPARED:
                prepared = False
        assert answer == (state in ANSWERING) or state is State.CLOSED
        assert paused == (state is State.HELD) or state is State.CLOSED, "sound is held back in HELD and only there"
        assert not prepared or state in (State.ENDING, State.CLOSED), "nothing prepared is forgotten"
        assert before is not State.CLOSED or state is State.CLOSED
