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


# One row a state: what each event commands, in this order. What is missing commands nothing.
COMMANDS = """
IDLE      VOICE_STARTED: BEGIN_TURN; TURN_OVER: COMMIT_TURN RELEASE_ANSWER; TURN_COMMITTED: COMMIT_TURN;
IDLE      TURN_DISCARDED: FORGET_TURN; ANSWER_REQUESTED: START_ANSWER;
HEARING   VOICE_PAUSED: PREPARE_ANSWER; TURN_OVER: COMMIT_TURN RELEASE_ANSWER; TURN_COMMITTED: COMMIT_TURN;
HEARING   TURN_DISCARDED: FORGET_TURN; ANSWER_REQUESTED: START_ANSWER;
ENDING    VOICE_RESUMED: DROP_PREPARED; TURN_OVER: COMMIT_TURN RELEASE_ANSWER;
ENDING    TURN_COMMITTED: COMMIT_TURN DROP_PREPARED; TURN_DISCARDED: DROP_PREPARED FORGET_TURN;
ENDING    ANSWER_REQUESTED: DROP_PREPARED START_ANSWER;
THINKING  ANSWER_CANCELLED: STOP_ANSWER; ANSWER_REQUESTED: START_ANSWER; VOICE_STARTED: PAUSE_PLAYOUT;
THINKING  TURN_COMMITTED: COMMIT_TURN; TURN_DISCARDED: FORGET_TURN;
SPEAKING  ANSWER_CANCELLED: STOP_ANSWER; ANSWER_REQUESTED: START_ANSWER; VOICE_STARTED: PAUSE_PLAYOUT;
SPEAKING  TURN_COMMITTED: COMMIT_TURN; TURN_DISCARDED: FORGET_TURN;
HELD      INTERRUPTION_JUDGED: BEGIN_TURN STOP_ANSWER; FALSE_ALARM_JUDGED: RESUME_PLAYOUT FORGET_TURN;
HELD      ANSWER_ENDED: RESUME_PLAYOUT BEGIN_TURN; ANSWER_CANCELLED: BEGIN_TURN STOP_ANSWER;
HELD      ANSWER_REQUESTED: RESUME_PLAYOUT FORGET_TURN START_ANSWER;
HELD      TURN_COMMITTED: RESUME_PLAYOUT COMMIT_TURN; TURN_DISCARDED: RESUME_PLAYOUT FORGET_TURN;
"""
ORDERED = {
    (State[row.split()[0]], Event[event]): [Command[name] for name in names.split()]
    for row in COMMANDS.strip().splitlines()
    for event, names in re.findall(r"(\w+): ([\w ]+);", row)
} | {(state, Event.CALLER_LEFT): [Command.CLOSE_STREAMS] for state in State if state is not State.CLOSED}


@pytest.mark.parametrize(("state", "event"), sorted(LEGAL, key=str), ids=lambda value: value.name)
def test_what_every_step_commands(state: State, event: Event) -> None:
    assert list(step(state, event)[1]) == ORDERED.get((state, event), [])


def test_every_command_is_used() -> None:
    used = {command for row in TRANSITIONS.values() for _, commands in row.values() for command in commands}
    assert used == set(Command)


@given(st.data())
def test_no_sequence_of_events_confuses_the_machine(data: st.DataObject) -> None:
    state, paused, answer, prepared, turn = State.IDLE, False, False, False, False
    for _ in range(data.draw(st.integers(0, 40))):
        event = data.draw(st.sampled_from(sorted(TRANSITIONS[state], key=lambda event: event.value)))
        before = state
        if event is Event.ANSWER_ENDED:
            answer = False  # it ends by itself
        turn = turn or event is Event.VOICE_STARTED
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
            elif command in (Command.COMMIT_TURN, Command.FORGET_TURN):
                turn = False
        assert answer == (state in ANSWERING) or state is State.CLOSED
        assert paused == (state is State.HELD) or state is State.CLOSED, "sound is held back in HELD and only there"
        assert not prepared or state in (State.ENDING, State.CLOSED), "nothing prepared is forgotten"
        assert turn or state not in (State.HEARING, State.ENDING, State.HELD), "somebody speaks there"
        assert before is not State.CLOSED or state is State.CLOSED
