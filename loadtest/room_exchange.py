"""One turn in a room, from the caller's side: what the agent's messages add up to. Pure; time is given, never read.

In a room the agent's track never pauses: between answers it is silence. So the messages say which answer sounds, and
the recording says when. All times are samples of the call's clock (`recording`).
"""

from collections.abc import Mapping
from typing import Any

from loadtest.exchange import LATE_ANSWER, TIMELINE_WAIT
from loadtest.recording import RATE_HZ
from loadtest.room_facts import Fact, Problem, StateChanged, TurnTimed, Words

QUIET = 3 * RATE_HZ // 10
"""So long must the agent be silent before its answer has sounded to the end: what was sent last is still on its way."""

STATUS = {"answered": "completed", "interrupted": "cancelled", "cancelled": "cancelled"}
"""Outcome of a timeline -> status of a response in the Realtime protocol; any other one is "failed"."""


class RoomExchange:
    """Facts in, state out. `begin` starts a turn; `settled` says when there is nothing more to wait for."""

    def __init__(self) -> None:
        self.state = "idle"
        self._known: set[str] = set()  # every segment of the agent so far
        self.begin(0)

    def begin(self, now: int) -> None:
        self.asked_at = now
        self.asking = False  # the caller still has something to say
        self.stopped = False  # the caller wants no more of this answer
        self.heard: dict[str, str] = {}
        self.text: dict[str, str] = {}
        self.final: set[str] = set()
        self._before = frozenset(self._known)
        self.problems: list[str] = []
        self.timeline: Mapping[str, Any] | None = None
        self.ended_at: int | None = None
        # What sounds until the agent thinks again belongs to the answer before, if one is under way.
        self.answering_from = now if self.state == "idle" else None

    @property
    def outcome(self) -> str:
        return str((self.timeline or {}).get("outcome", "unanswered"))

    @property
    def status(self) -> str:
        return STATUS.get(self.outcome, "failed")

    @property
    def reason(self) -> str | None:
        if self.status == "completed":
            return None
        return self.problems[-1] if self.problems else self.outcome

    def receive(self, fact: Fact, now: int) -> None:
        match fact:
            case StateChanged(state):
                self._enter(state, now)
            case TurnTimed(timeline):
                self.timeline, self.ended_at = timeline, now
            case Words(by_agent=True):
                self._agent_says(fact)
            case Words():
                self.heard[fact.segment_id] = fact.text
            case Problem():
                self.problems.append(str(fact))

    def settled(self, now: int, loud_until: int) -> bool:
        """The caller has spoken, the answer is complete and has sounded to its end. The agent's last loud sample came
        at `loud_until`."""
        if self.asking or self.state != "idle" or self.ended_at is None:
            return False
        ended_at = max(self.ended_at, self.asked_at)
        if self._premature() and now < ended_at + LATE_ANSWER:
            return False
        return now >= max(loud_until, ended_at) + QUIET and (self._told() or now >= ended_at + TIMELINE_WAIT)

    def _enter(self, state: str, now: int) -> None:
        if state in ("ending", "thinking"):  # silence now; whatever sounds next is what comes of it
            self.answering_from = now
        self.state = state

    def _agent_says(self, words: Words) -> None:
        self._known.add(words.segment_id)
        if words.segment_id in self._before:
            return  # the end of what it said before
        self.text[words.segment_id] = words.text
        if words.final:
            self.final.add(words.segment_id)

    def _premature(self) -> bool:
        """This turn is not what the agent has finished: it answered into a pause, or tells of the answer before."""
        return self.status == "cancelled" and not self.stopped

    def _told(self) -> bool:
        return bool(self.text) and self.final >= self.text.keys()
