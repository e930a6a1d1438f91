import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_app.call_options import GOODBYE, REPEAT, STOP, PhraseOptions
from serve_app.conversation.spoken_orders import SpokenOrders

ORDERS = SpokenOrders(PhraseOptions())
KNOWN = {"stop": STOP, "repeat": REPEAT, "goodbye": GOODBYE}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("Stop!", "stop"),
        ("STOP. Stop, stop", "stop"),
        ("Be quiet; please stop.", "stop"),
        ("stop the music", None),
        ("I could not stop", None),
        ("Repeat that?", "repeat"),
        ("Could you say that again, please?", "repeat"),
        ("repeat that number please", None),
        ("Good-bye!", "goodbye"),
        ("Thank you. Goodbye.", "goodbye"),
        ("Say goodbye to my mother", None),
        ("stop, goodbye", None),
        ("Bye.", None),
        ("", None),
        ("...", None),
    ],
)
def test_what_is_said_alone_is_an_order(text: str, meaning: str | None) -> None:
    assert ORDERS.meaning(text) == meaning


@settings(max_examples=40)
@given(st.sampled_from(sorted(KNOWN)), st.data())
def test_case_and_signs_make_no_difference_and_more_words_do(order: str, data: st.DataObject) -> None:
    phrase = data.draw(st.sampled_from(KNOWN[order]))
    signs = st.text(" .,;:!?…", max_size=3)
    said = data.draw(signs) + data.draw(st.sampled_from([phrase, phrase.upper(), phrase.title()])) + data.draw(signs)
    assert ORDERS.meaning(said) == order
    assert ORDERS.meaning(f"{said} yesterday") is None
    assert ORDERS.meaning(f"they {said}") is None


def test_a_long_speech_is_judged_at_once() -> None:
    assert ORDERS.meaning("goodbye bye bye " * 10_000 + "now") is None
    assert ORDERS.meaning("bye bye " * 9 + "bill") is None


def test_an_empty_list_switches_an_order_off() -> None:
    orders = SpokenOrders(PhraseOptions(stop=(), repeat=("noch  einmal, bitte", "...")))
    assert orders.meaning("stop") is None
    assert orders.meaning("Noch einmal bitte!") == "repeat"
    assert orders.meaning("") is None
