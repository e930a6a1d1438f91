"""The turn machine: (state, event) -> (state, commands), as a table.

It does no I/O and knows no clock. Events are facts about the caller and the answer; commands are orders to the call,
to be carried out in the order given. An event that the table does not list for a state raises `IllegalEvent`: the
call has lost its place, and going on would make it worse.

    IDLE ──voice──▶ HEARING ──pause──▶ ENDING ──over──▶ THINKING ──audible──▶ SPEAKING ──ended──▶ IDLE
                       ▲ ◀──voice again──┘                  └──voice──▶ HELD ◀──voice──┘
                       └───────────────interruption─────────────────────┘ └─false alarm─▶ SPEAKING
"""

from enum import Enum, auto


class State(Enum):
    IDLE = auto()
    HEARING = auto()
    ENDING = auto()
    THINKING = auto()
    SPEAKING = auto()
    HELD = auto()
    CLOSED = auto()


class Event(Enum):
    VOICE_STARTED = auto()
    VOICE_PAUSED = auto()
    VOICE_RESUMED = auto()
    TURN_OVER = auto()
    """The caller's turn is over and to be answered."""
    TURN_COMMITTED = auto()
    """The caller's turn is over; nobody asked for an answer yet."""
    TURN_DISCARDED = auto()
    ANSWER_REQUESTED = auto()
    ANSWER_AUDIBLE = auto()
    ANSWER_ENDED = auto()
    """The answer has been played to its end, or ended without sound."""
    ANSWER_CANCELLED = auto()
    INTERRUPTION_JUDGED = auto()
    FALSE_ALARM_JUDGED = auto()
    CALLER_LEFT = auto()


class Command(Enum):
    BEGIN_TURN = auto()
    PREPARE_ANSWER = auto()
    """Start everything on speculation; nothing may be heard of it."""
    DROP_PREPARED = auto()
    COMMIT_TURN = auto()
    FORGET_TURN = auto()
    RELEASE_ANSWER = auto()
    """Let the prepared answer be heard; make one where none was prepared."""
    START_ANSWER = auto()
    PAUSE_PLAYOUT = auto()
    RESUME_PLAYOUT = auto()
    STOP_ANSWER = auto()
    """Stop the answer for good; the history keeps what was heard of it."""
    CLOSE_STREAMS = auto()


class IllegalEvent(Exception):
    """An event that its state does not know. The fault is ours."""


S, E, C = State, Event, Command

TRANSITIONS: dict[State, dict[Event, tuple[State, tuple[Command, ...]]]] = {
    S.IDLE: {
        E.VOICE_STARTED: (S.HEARING, (C.BEGIN_TURN,)),
        E.TURN_OVER: (S.THINKING, (C.COMMIT_TURN, C.RELEASE_ANSWER)),  # the idle timeout speaks first
        E.TURN_COMMITTED: (S.IDLE, (C.COMMIT_TURN,)),
        E.TURN_DISCARDED: (S.IDLE, (C.FORGET_TURN,)),
        E.ANSWER_REQUESTED: (S.THINKING, (C.START_ANSWER,)),
    },
    S.HEARING: {
        E.VOICE_PAUSED: (S.ENDING, (C.PREPARE_ANSWER,)),
        E.TURN_OVER: (S.THINKING, (C.COMMIT_TURN, C.RELEASE_ANSWER)),  # a turn may not last for ever
        E.TURN_COMMITTED: (S.IDLE, (C.COMMIT_TURN,)),
        E.TURN_DISCARDED: (S.IDLE, (C.FORGET_TURN,)),
        E.ANSWER_REQUESTED: (S.THINKING, (C.START_ANSWER,)),  # the turn goes on over the answer
    },
    S.ENDING: {
        E.VOICE_RESUMED: (S.HEARING, (C.DROP_PREPARED,)),
        E.TURN_OVER: (S.THINKING, (C.COMMIT_TURN, C.RELEASE_ANSWER)),
        E.TURN_COMMITTED: (S.IDLE, (C.COMMIT_TURN, C.DROP_PREPARED)),
        E.TURN_DISCARDED: (S.IDLE, (C.DROP_PREPARED, C.FORGET_TURN)),
        E.ANSWER_REQUESTED: (S.THINKING, (C.DROP_PREPARED, C.START_ANSWER)),
    },
    S.THINKING: {
        E.ANSWER_AUDIBLE: (S.SPEAKING, ()),
        E.ANSWER_ENDED: (S.IDLE, ()),
        E.ANSWER_CANCELLED: (S.IDLE, (C.STOP_ANSWER,)),
        E.ANSWER_REQUESTED: (S.THINKING, (C.START_ANSWER,)),  # all was sent; its end is only not yet known
        E.VOICE_STARTED: (S.HELD, (C.PAUSE_PLAYOUT,)),
        E.TURN_COMMITTED: (S.THINKING, (C.COMMIT_TURN,)),
        E.TURN_DISCARDED: (S.THINKING, (C.FORGET_TURN,)),
    },
    S.SPEAKING: {
        E.ANSWER_AUDIBLE: (S.SPEAKING, ()),
        E.ANSWER_ENDED: (S.IDLE, ()),
        E.ANSWER_CANCELLED: (S.IDLE, (C.STOP_ANSWER,)),
        E.ANSWER_REQUESTED: (S.THINKING, (C.START_ANSWER,)),  # all was sent, the caller's side still plays
        E.VOICE_STARTED: (S.HELD, (C.PAUSE_PLAYOUT,)),
        E.TURN_COMMITTED: (S.SPEAKING, (C.COMMIT_TURN,)),
        E.TURN_DISCARDED: (S.SPEAKING, (C.FORGET_TURN,)),
    },
    S.HELD: {
        E.INTERRUPTION_JUDGED: (S.HEARING, (C.BEGIN_TURN, C.STOP_ANSWER)),
        E.FALSE_ALARM_JUDGED: (S.SPEAKING, (C.RESUME_PLAYOUT, C.FORGET_TURN)),
        E.ANSWER_AUDIBLE: (S.HELD, ()),
        E.ANSWER_ENDED: (S.HEARING, (C.RESUME_PLAYOUT, C.BEGIN_TURN)),
        E.ANSWER_CANCELLED: (S.HEARING, (C.BEGIN_TURN, C.STOP_ANSWER)),
        E.ANSWER_REQUESTED: (S.THINKING, (C.RESUME_PLAYOUT, C.FORGET_TURN, C.START_ANSWER)),
        E.TURN_COMMITTED: (S.SPEAKING, (C.RESUME_PLAYOUT, C.COMMIT_TURN)),
        E.TURN_DISCARDED: (S.SPEAKING, (C.RESUME_PLAYOUT, C.FORGET_TURN)),
    },
    S.CLOSED: {},
}
for _state in S:
    TRANSITIONS[_state][E.CALLER_LEFT] = (S.CLOSED, () if _state is S.CLOSED else (C.CLOSE_STREAMS,))


def step(state: State, event: Event) -> tuple[State, tuple[Command, ...]]:
    """Where `event` leads from `state`, and what is to be done on the way.

    Raises IllegalEvent when the table has no entry.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalEvent(f"{event.name} in state {state.name}") from None
