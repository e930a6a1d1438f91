"""What a caller may say and be understood without an LLM, if it is all that they said. Pure."""

import re
from collections.abc import Iterable
from typing import Literal

from serve_app.call_options import PhraseOptions
from serve_app.conversation.barge_in import plain

SpokenOrder = Literal["stop", "repeat", "goodbye"]
LONGEST = 80
"""Characters; whoever says more says something else."""


class SpokenOrders:
    """Phrases and what they mean. Case and punctuation make no difference, and one may be said several times."""

    def __init__(self, options: PhraseOptions) -> None:
        known: dict[SpokenOrder, Iterable[str]] = {
            "stop": options.stop,
            "repeat": options.repeat,
            "goodbye": options.goodbye,
        }
        self._patterns = [(order, _only(phrases)) for order, phrases in known.items()]

    def meaning(self, text: str) -> SpokenOrder | None:
        """The order that `text` is, from its first word to its last; else None."""
        words = plain(text)
        if len(words) > LONGEST:
            return None
        return next((order for order, pattern in self._patterns if pattern.fullmatch(words)), None)


def _only(phrases: Iterable[str]) -> re.Pattern[str]:
    """Matches one or more of these with a space between them; nothing where there are none."""
    known = sorted({re.escape(plain(phrase)) for phrase in phrases} - {""})
    any_of = "|".join(known)
    return re.compile(f"(?:{any_of})(?: (?:{any_of}))*" if known else r"(?!)")
