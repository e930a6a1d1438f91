from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.conversation.silence import Due, Silence


def test_a_caller_is_asked_once_and_then_left() -> None:
    silence = Silence(100)
    course = [(0, True), (99, True), (100, True), (101, False), (200, False), (201, True), (300, True), (301, True)]
    assert [silence.watch(now, idle=idle) for now, idle in course] == [None, None, Due.ASK, *[None] * 4, Due.END]


def test_a_caller_who_acts_after_the_question_is_asked_again() -> None:
    silence = Silence(100)
    silence.watch(0, idle=True)
    assert silence.watch(100, idle=True) is Due.ASK
    silence.caller_acted()
    silence.watch(150, idle=False)
    silence.watch(200, idle=True)
    assert silence.watch(300, idle=True) is Due.ASK


def test_no_limit_is_no_question() -> None:
    silence = Silence(0)
    assert [silence.watch(now, idle=True) for now in (0, 10**9)] == [None, None]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 40), st.sampled_from(["idle", "busy", "acted"]))))
def test_every_question_and_end_comes_after_a_whole_silence(steps: list[tuple[int, str]]) -> None:
    silence, now, quiet_since, asked = Silence(100), 0, None, False
    for passed, what in steps:
        now += passed
        if what == "acted":
            silence.caller_acted()
            asked = False
            continue
        due = silence.watch(now, idle=what == "idle")
        quiet_since = None if what == "busy" else now if quiet_since is None else quiet_since
        if quiet_since is not None and now - quiet_since >= 100:
            assert due is (Due.END if asked else Due.ASK)
            quiet_since, asked = None, True
        else:
            assert due is None
