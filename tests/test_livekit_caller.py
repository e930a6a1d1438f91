from typing import cast

import pytest
from livekit import rtc
from livekit.rtc._proto.participant_pb2 import OwnedParticipant, ParticipantInfo

from serve_app.transports.livekit_caller import Presence, Seat

Kind = rtc.ParticipantKind
Reason = rtc.DisconnectReason
INVALID_HANDLE = 0


def person(
    identity: str = "me",
    sid: str = "PA_1",
    kind: int = Kind.PARTICIPANT_KIND_STANDARD,
    reason: int = Reason.UNKNOWN_REASON,
) -> rtc.RemoteParticipant:
    owned = OwnedParticipant()
    owned.handle.id = INVALID_HANDLE
    info = ParticipantInfo(sid=sid, name="", identity=identity, metadata="", kind=cast(Kind.ValueType, kind))
    info.disconnect_reason = cast(Reason.ValueType, reason)
    owned.info.CopyFrom(info)
    return rtc.RemoteParticipant(owned)


@pytest.mark.parametrize(
    ("kind", "comes"),
    [
        (Kind.PARTICIPANT_KIND_STANDARD, True),
        (Kind.PARTICIPANT_KIND_SIP, True),
        (Kind.PARTICIPANT_KIND_CONNECTOR, True),
        (Kind.PARTICIPANT_KIND_BRIDGE, True),
        (Kind.PARTICIPANT_KIND_AGENT, False),
        (Kind.PARTICIPANT_KIND_EGRESS, False),
        (Kind.PARTICIPANT_KIND_INGRESS, False),
    ],
)
def test_who_may_take_the_seat(kind: int, comes: bool) -> None:
    seat = Seat()
    assert seat.joined(person(kind=kind)) is comes
    assert (seat.presence is Presence.HERE) is comes
    assert seat.is_caller("me") is comes
    assert seat.by_phone is (kind == Kind.PARTICIPANT_KIND_SIP)


@pytest.mark.parametrize(
    ("reason", "presence"),
    [
        (Reason.CLIENT_INITIATED, Presence.GONE),
        (Reason.PARTICIPANT_REMOVED, Presence.GONE),
        (Reason.ROOM_DELETED, Presence.GONE),
        (Reason.ROOM_CLOSED, Presence.GONE),
        (Reason.USER_REJECTED, Presence.GONE),
        (Reason.USER_UNAVAILABLE, Presence.GONE),
        (Reason.UNKNOWN_REASON, Presence.AWAY),
        (Reason.SIGNAL_CLOSE, Presence.AWAY),
        (Reason.DUPLICATE_IDENTITY, Presence.AWAY),
        (Reason.STATE_MISMATCH, Presence.AWAY),
        (Reason.SERVER_SHUTDOWN, Presence.AWAY),
    ],
)
def test_who_left_for_good(reason: int, presence: Presence) -> None:
    seat = Seat()
    seat.joined(person())
    assert seat.left(person(reason=reason))
    assert seat.presence is presence
    back = seat.joined(person(sid="PA_2"))
    assert back is (presence is Presence.AWAY)
    assert seat.sid == ("PA_2" if back else "PA_1")


def test_the_first_who_comes_is_the_caller() -> None:
    seat = Seat()
    assert seat.consider([person("bot", kind=Kind.PARTICIPANT_KIND_AGENT), person("a"), person("b")])
    assert seat.identity == "a"
    assert not seat.joined(person("b"))
    assert not seat.left(person("b", reason=Reason.CLIENT_INITIATED))
    assert seat.presence is Presence.HERE


def test_who_was_asked_for_is_waited_for() -> None:
    seat = Seat("me")
    assert not seat.is_caller(None)
    assert not seat.consider([person("a"), person("b")])
    assert seat.presence is Presence.EXPECTED
    assert seat.joined(person("me"))


def test_only_the_same_one_may_come_back() -> None:
    seat = Seat()
    seat.joined(person("a"))
    seat.left(person("a"))
    assert not seat.joined(person("b"))
    assert seat.presence is Presence.AWAY
    assert not seat.left(person("a"))  # they are away already
    assert seat.joined(person("a", "PA_2"))
    assert not seat.joined(person("a", "PA_3"))  # they are here already


def test_nobody_is_the_caller_of_an_empty_seat() -> None:
    assert not Seat().is_caller(None)
    assert not Seat().is_caller("me")
    assert not Seat().left(person())
