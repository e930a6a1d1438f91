"""Which models answer a call."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.contracts import Capabilities
from deployments.errors import BadRequest
from deployments.store import Kind
from serve_app.choosing import ABILITIES, Offer, Wishes, names_in, pick

OFFERS = (
    Offer("asr", "asr", Capabilities(languages=("en",))),
    Offer("asr-world", "asr", Capabilities(languages=("de", "en", "fr"), streaming=True)),
    Offer("llm", "llm", Capabilities(streaming=True)),
    Offer("llm-tools", "llm", Capabilities(streaming=True, tools=True)),
    Offer("llm-both", "llm", Capabilities(streaming=True, tools=True, lora=True)),
    Offer("tts", "tts", Capabilities(("en-us",), ("joe",), streaming=True)),
    Offer("tts-german", "tts", Capabilities(("de-de",), ("anna", "max"), streaming=True)),
    Offer("tts-any", "tts", Capabilities((), ("echo",), cloning=True)),
    Offer("turn", "turn", Capabilities()),
)


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        (Wishes(), "asr llm tts turn"),
        (Wishes(language="en"), "asr llm tts turn"),
        (Wishes(language="de"), "asr-world llm tts-german turn"),
        (Wishes(language="fr"), "asr-world llm tts-any turn"),
        (Wishes(language="EN-GB"), "asr llm tts turn"),
        (Wishes(voice="max"), "asr llm tts-german turn"),
        (Wishes(voice="max", language="en"), "asr llm tts-german turn"),
        (Wishes(needs=("llm.tools",)), "asr llm-tools tts turn"),
        (Wishes(needs=("llm.tools", "llm.lora")), "asr llm-both tts turn"),
        (Wishes(needs=("tts.cloning", "asr.streaming")), "asr-world llm tts-any turn"),
        (Wishes(models=("llm-both", "tts-any")), "asr llm-both tts-any turn"),
        (Wishes(models=("llm-both",), needs=("llm.tools",)), "asr llm-both tts turn"),
    ],
    ids=str,
)
def test_the_first_that_will_do(wishes: Wishes, expected: str) -> None:
    assert " ".join(each.name for each in pick(OFFERS, wishes).values()) == expected


@pytest.mark.parametrize(
    ("wishes", "field", "said"),
    [
        (Wishes(language="nl"), "language", "No asr model here knows the language 'nl'; known are de, en, fr"),
        (Wishes(voice="nobody"), "voice", "Unknown voice 'nobody'; known are joe, anna, max, echo"),
        (Wishes(models=("none",)), "models", "Unknown model 'none'; known are asr, "),
        (Wishes(models=("llm", "llm-both")), "models", "'llm' and 'llm-both' are both llm models"),
        (Wishes(models=("llm",), needs=("llm.tools",)), "needs", "No llm model here has 'llm.tools'; there are llm."),
        (Wishes(needs=("tts.cloning",), voice="joe"), "needs", "No tts model here has 'tts.cloning'"),
        (Wishes(needs=("asr.cloning",)), "needs", "Unknown need 'asr.cloning'; known are asr.streaming, "),
        (Wishes(models=("tts",), language="de"), "language", "No tts model here knows the language 'de'"),
    ],
    ids=str,
)
def test_what_is_missing_is_named(wishes: Wishes, field: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as wrong:
        pick(OFFERS, wishes)
    assert wrong.value.field == field


KINDS: st.SearchStrategy[Kind] = st.sampled_from(("asr", "llm", "tts", "turn"))
CODES = st.lists(st.sampled_from(("en", "en-us", "de", "fr")), max_size=2).map(tuple)
VOICES = st.lists(st.sampled_from(("a", "b", "c")), max_size=2, unique=True).map(tuple)
ABLE = st.builds(
    Capabilities, CODES, VOICES, streaming=st.booleans(), tools=st.booleans(), cloning=st.booleans(), lora=st.booleans()
)
SOME = st.lists(st.tuples(KINDS, ABLE), max_size=8)
WISHES = st.builds(
    Wishes,
    st.none() | st.sampled_from(("en", "de")),
    st.none() | st.sampled_from(("a", "b", "c")),
    st.lists(st.sampled_from([f"m{n}" for n in range(6)]), max_size=2).map(tuple),
    st.lists(st.sampled_from(sorted(ABILITIES)), max_size=2).map(tuple),
)


@given(SOME, WISHES)
def test_whoever_is_picked_has_all_that_was_wished(some: list[tuple[Kind, Capabilities]], wishes: Wishes) -> None:
    """Or somebody is refused."""
    offers = [Offer(f"m{index}", kind, able) for index, (kind, able) in enumerate(some)]
    try:
        picked = pick(offers, wishes)
    except BadRequest:
        return
    assert picked.keys() == {each.kind for each in offers}
    for need in wishes.needs:
        kind, _, ability = need.partition(".")
        assert all(getattr(each.capabilities, ability) for each in picked.values() if each.kind == kind)
    assert set(wishes.models) <= {each.name for each in picked.values()}
    if wishes.voice is not None and "tts" in picked:
        assert wishes.voice in picked["tts"].capabilities.voices


def test_names_stand_between_commas_or_spaces() -> None:
    assert names_in(" a, b  c,,d ") == ("a", "b", "c", "d")
    assert names_in(" ") == ()
