"""Which models answer a call: by their names, by what the call needs of them, else the default ones. Pure.

A need is `KIND.ABILITY`: `tts.cloning`, `tts.streaming`, `asr.streaming`, `llm.tools`, `llm.lora`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deployments.contracts import Capabilities
from deployments.errors import BadRequest
from deployments.store import Kind
from serve_app.served import SERVED_KINDS

ABILITIES: Mapping[str, str] = {
    "asr.streaming": "streaming",
    "llm.lora": "lora",
    "llm.streaming": "streaming",
    "llm.tools": "tools",
    "tts.cloning": "cloning",
    "tts.streaming": "streaming",
}
"""What may be needed, and the field of `Capabilities` that says whether it is there."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A deployment and what it can do."""

    name: str
    kind: Kind
    capabilities: Capabilities

    def speaks(self, language: str | None) -> bool:
        """A model that names no languages takes what it gets."""
        known = {_base(code) for code in self.capabilities.languages}
        return language is None or not known or _base(language) in known


def _base(code: str) -> str:
    """`en` of en-us: a voice of another region is better than none."""
    return code.partition("-")[0].lower()


@dataclass(frozen=True, slots=True)
class Wishes:
    """Of a call. `models`: names of deployments, at most one of a kind."""

    language: str | None = None
    voice: str | None = None
    models: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def names_in(text: str) -> tuple[str, ...]:
    """The names in a text, between commas or spaces."""
    return tuple(text.replace(",", " ").split())


def pick(offers: Sequence[Offer], wishes: Wishes) -> dict[Kind, Offer]:
    """One model of each kind that is offered, the first that will do; `offers` has the default ones first.

    Raises BadRequest, whose `field` is the wish that cannot be had: `models`, `needs`, `language` or `voice`.
    """
    for need in wishes.needs:
        if need not in ABILITIES:
            known = ", ".join(sorted(ABILITIES))
            raise BadRequest(f"Unknown need '{need[:60]}'; known are {known}.", field="needs")
    named = _named(offers, wishes.models)
    return {
        kind: _pick(kind, [named[kind]] if kind in named else [each for each in offers if each.kind == kind], wishes)
        for kind in SERVED_KINDS
        if any(each.kind == kind for each in offers)
    }


def _named(offers: Sequence[Offer], names: Sequence[str]) -> dict[Kind, Offer]:
    there = {each.name: each for each in offers}
    found: dict[Kind, Offer] = {}
    for name in names:
        if name not in there:
            raise BadRequest(f"Unknown model '{name[:60]}'; known are {', '.join(there)}.", field="models")
        if (kind := there[name].kind) in found:
            message = f"'{found[kind].name}' and '{name}' are both {kind} models: choose one of them."
            raise BadRequest(message, field="models")
        found[kind] = there[name]
    return found


def _pick(kind: Kind, offers: Sequence[Offer], wishes: Wishes) -> Offer:
    """The first that has all: each wish leaves fewer, and the one that leaves none is named."""
    left = list(offers)

    def narrow(wish: str, keep: Callable[[Offer], bool], refusal: str) -> None:
        nonlocal left
        narrowed = [each for each in left if keep(each)]
        if not narrowed:
            raise BadRequest(refusal, field=wish)
        left = narrowed

    if kind == "tts" and wishes.voice is not None:
        voice, known = wishes.voice, [name for each in offers for name in each.capabilities.voices]
        refusal = f"Unknown voice '{voice[:60]}'; known are {', '.join(known) or 'none'}."
        narrow("voice", lambda each: voice in each.capabilities.voices, refusal)
    for need in wishes.needs:
        if need.startswith(f"{kind}."):
            ability = ABILITIES[need]
            narrow(
                "needs",
                lambda each, ability=ability: bool(getattr(each.capabilities, ability)),  # type: ignore[misc]
                f"No {kind} model here has '{need}'; there are {', '.join(each.name for each in offers)}.",
            )
    if kind == "asr" or (kind == "tts" and wishes.voice is None):
        spoken = sorted({code for each in offers for code in each.capabilities.languages})
        refusal = f"No {kind} model here knows the language '{wishes.language}'; known are {', '.join(spoken)}."
        narrow("language", lambda each: each.speaks(wishes.language), refusal)
    return left[0]
