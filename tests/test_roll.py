import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.rooms.roll import PLACED_S, Ended, Join, Report, Roll, Stay

STAY = Stay("room", "call_1", "antiphon-1", '{"voice": "joe"}')


def roll(*reports: Report) -> Roll:
    made = Roll()
    for report in reports:
        made.report(report)
    return made


def test_a_room_is_hosted_by_whoever_reports_it() -> None:
    known = roll(Report("a", 3), Report("b", 2, (STAY,), ("call_1",)))
    assert known.host("room", 0.0) == "b"
    assert known.host("other", 0.0) is None
    assert known.host_of_call("call_1") == "b"
    assert known.host_of_call("call_2") is None


def test_a_claim_keeps_others_away_until_it_is_reported_or_too_old() -> None:
    known = roll(Report("a", 3), Report("b", 3))
    assert known.claim("room", "a", 0.0)
    assert not known.claim("room", "b", PLACED_S - 0.1)
    assert known.claim("room", "b", PLACED_S + 0.1)
    known.report(Report("b", 2, (STAY,)))
    assert not known.claim("room", "a", 100.0)


def test_who_has_claimed_a_room_may_claim_it_again() -> None:
    """The keeper's order to join, and a caller's request at the same replica, may cross."""
    known = roll(Report("a", 3))
    assert known.claim("room", "a", 0.0)
    assert known.claim("room", "a", 1.0)
    known.report(Report("a", 2, (STAY,)))
    assert known.claim("room", "a", 2.0)
    known.report(Report("a", 3))
    assert known.host("room", 2.0) is None  # the last claim was no new one


def test_a_join_in_vain_blocks_nobody() -> None:
    known = roll(Report("a", 3))
    known.claim("room", "a", 0.0)
    known.ended(Ended(STAY))
    assert known.host("room", 0.1) is None
    assert known.unattended["room"].join == Join("room", STAY.metadata)


def test_places_just_given_away_count_as_taken() -> None:
    known = roll(Report("a", 2), Report("b", 1))
    assert known.roomiest(0.0) == "a"
    assert known.claim("one", "a", 0.0)
    assert known.claim("two", "a", 0.0)
    assert known.roomiest(0.1) == "b"
    assert known.claim("three", "b", 0.1)
    assert known.roomiest(0.2) is None
    assert known.roomiest(PLACED_S + 1) == "a"


def test_nobody_is_roomiest_where_nobody_reports_or_all_are_full() -> None:
    assert Roll().roomiest(0.0) is None
    assert roll(Report("a", 0)).roomiest(0.0) is None
    assert roll(Report("a", 9), Report("b", 1)).roomiest(0.0, full="a") == "b"


def test_the_rooms_of_a_dead_replica_are_unattended_until_somebody_reports_them() -> None:
    known = roll(Report("a", 1, (STAY,)), Report("b", 1))
    known.claim("other", "a", 0.0)
    assert known.gone("a") == (STAY,)
    assert known.host("room", 0.0) is None
    assert known.host("other", 0.0) is None
    assert known.unattended["room"].join == Join("room", STAY.metadata, None, "antiphon-1")
    known.report(Report("b", 0, (Stay("room", "call_2", "antiphon-2"),)))
    assert not known.unattended
    assert known.gone("nobody") == ()


def test_a_report_that_was_overtaken_is_not_believed() -> None:
    known = roll(Report("a", 0, (STAY,), number=7))
    known.report(Report("a", 1, number=6))
    assert known.host("room", 0.0) == "a"
    known.report(Report("a", 1, number=8))
    assert known.host("room", 0.0) is None


def test_whoever_was_answered_for_good_stays_so_in_later_stays() -> None:
    known = roll(Report("a", 1, (STAY,)))
    known.ended(Ended(STAY, "PA_1"))
    assert known.unattended["room"].answered == {"PA_1"}
    second = Stay("room", "call_2", "antiphon-2")
    known.report(Report("a", 1, (second,)))
    assert "room" not in known.unattended
    known.ended(Ended(second, "PA_2"))
    assert known.unattended["room"].answered == {"PA_1", "PA_2"}
    known.report(Report("a", 1, (Stay("room", "call_3", "antiphon-3"),)))
    known.gone("a")
    assert known.unattended["room"].answered == {"PA_1", "PA_2"}


def test_a_caller_who_left_by_themselves_is_not_answered_for_good() -> None:
    known = Roll()
    known.ended(Ended(STAY, None))
    assert known.unattended["room"].answered == set()


def test_closed_rooms_are_forgotten() -> None:
    known = Roll()
    for room in ("one", "two"):
        known.ended(Ended(Stay(room, "call", "agent"), f"PA_{room}"))
    known.forget_closed(["two", "three"])
    assert set(known.unattended) == {"two"}
    assert known.answered("one") == set()
    assert known.answered("two") == {"PA_two"}


REPLICAS, ROOMS = st.sampled_from("ab"), st.sampled_from(("r", "s"))
STEPS = st.lists(st.tuples(st.sampled_from(("claim", "report", "leave", "gone")), REPLICAS, ROOMS), max_size=30)


@pytest.mark.timeout(60)
@given(STEPS)
def test_a_room_never_has_two_hosts(steps: list[tuple[str, str, str]]) -> None:
    """Replicas that join only what they may, and report it at some later time."""
    known, now_s, claimed, hosted = Roll(), 0.0, set[tuple[str, str]](), set[tuple[str, str]]()

    def report(replica: str) -> None:
        stays = tuple(Stay(room, f"call-{replica}", f"agent-{replica}") for by, room in hosted if by == replica)
        known.report(Report(replica, 3, stays))

    for what, replica, room in steps:
        now_s += 0.01
        if what == "claim" and known.claim(room, replica, now_s):
            claimed.add((replica, room))
        elif what == "report":
            hosted |= {pair for pair in claimed if pair[0] == replica}
            report(replica)
        elif what == "leave" and (replica, room) in hosted:
            hosted.discard((replica, room))
            claimed.discard((replica, room))
            known.ended(Ended(Stay(room, f"call-{replica}", f"agent-{replica}")))
            report(replica)
        elif what == "gone":
            known.gone(replica)
            hosted = {pair for pair in hosted if pair[0] != replica}
            claimed = {pair for pair in claimed if pair[0] != replica}
        for one in ("r", "s"):
            assert len({by for by, where in claimed | hosted if where == one}) <= 1
