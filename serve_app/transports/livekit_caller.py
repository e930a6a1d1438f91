"""Who in a room is the caller: the one that was asked for, else the first who is no agent."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from livekit import rtc

_CALLERS = (
    rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD,
    rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
    rtc.ParticipantKind.PARTICIPANT_KIND_CONNECTOR,
    rtc.ParticipantKind.PARTICIPANT_KIND_BRIDGE,
)
"""Agents, recorders (egress) and streams (ingress) ask nothing."""

_WENT = (
    rtc.DisconnectReason.CLIENT_INITIATED,
    rtc.DisconnectReason.PARTICIPANT_REMOVED,
    rtc.DisconnectReason.ROOM_DELETED,
    rtc.DisconnectReason.ROOM_CLOSED,
    rtc.DisconnectReason.USER_REJECTED,
    rtc.DisconnectReason.USER_UNAVAILABLE,
)
"""Somebody wanted it so: nobody will come back to this conversation."""


class Presence(Enum):
    EXPECTED = auto()
    HERE = auto()
    AWAY = auto()
    """The connection dropped; the same participant may come back."""
    GONE = auto()


@dataclass(slots=True)
class Seat:
    """The caller's place in a call. `identity` None: nobody has taken it yet."""

    identity: str | None = None
    sid: str | None = None
    kind: int = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    presence: Presence = Presence.EXPECTED

    def consider(self, participants: Iterable[rtc.RemoteParticipant]) -> bool:
        """Does one of these take the seat? A caller that was asked for by name is waited for."""
        return any(self.joined(participant) for participant in participants)

    def joined(self, participant: rtc.RemoteParticipant) -> bool:
        """True: this is the caller, who has come or come back."""
        if participant.kind not in _CALLERS or self.presence in (Presence.HERE, Presence.GONE):
            return False
        if self.identity not in (None, participant.identity):
            return False
        self.identity, self.sid, self.kind = participant.identity, participant.sid, participant.kind
        self.presence = Presence.HERE
        return True

    def left(self, participant: rtc.RemoteParticipant) -> bool:
        """True: this was the caller; `presence` says whether they may come back."""
        if participant.identity != self.identity or self.presence is not Presence.HERE:
            return False
        self.presence = Presence.GONE if participant.disconnect_reason in _WENT else Presence.AWAY
        return True

    def is_caller(self, identity: str | None) -> bool:
        return identity is not None and identity == self.identity

    @property
    def by_phone(self) -> bool:
        return self.kind == rtc.ParticipantKind.PARTICIPANT_KIND_SIP
