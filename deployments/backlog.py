"""How much work a replica has, in seconds, so that routers can tell a long text from a short one.

Requests count in units: seconds of audio for ASR and TTS, tokens for an LLM, requests for turn detection. How long a
unit takes here is learnt from what was done, all of the replica's parallel work together.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from deployments.contracts import SPEECH_RATE_HZ, Message, Pcm

UNITS = f"{__name__}:units"
"""For `cluster.router.affinity`."""

CHARACTERS_A_SECOND = 15.0  # of speech
CHARACTERS_A_TOKEN = 4.0
ANSWER_TOKENS = 60.0
"""Of an answer that may be longer: spoken ones are short."""
LEAST_AUDIO_S = 1.0  # less takes as long

MEMORY_S = 30.0
"""Busy seconds after which what was learnt counts half: models change places, and so does what else runs here."""


def units(method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> float:
    """The work in a request to a deployment; 0 where there is hardly any. Raises anything for what would be refused."""
    count = _UNITS.get(method)
    return count(args, kwargs) if count else 0.0


def audio_units(audio: Pcm) -> float:
    """`audio`: int16[n] at 16 kHz."""
    return max(LEAST_AUDIO_S, len(audio) / SPEECH_RATE_HZ)


def text_units(text: str) -> float:
    return max(LEAST_AUDIO_S, len(text) / CHARACTERS_A_SECOND)


def prompt_units(messages: Sequence[Message], max_tokens: int = 0) -> float:
    """Of an answer, too. What came before the last message is kept from the turn before."""
    last = len(messages[-1].text) if messages else 0
    return 1.0 + last / CHARACTERS_A_TOKEN + min(ANSWER_TOKENS, max_tokens)


_UNITS: dict[str, Callable[[Sequence[Any], Mapping[str, Any]], float]] = {
    "transcribe": lambda args, kwargs: audio_units(args[0]),
    "speak": lambda args, kwargs: text_units(args[0]),
    "generate": lambda args, kwargs: prompt_units(args[0], kwargs["max_tokens"]),
    "sentence_end": lambda args, kwargs: prompt_units(args[0]),
    "end_of_turn": lambda args, kwargs: 1.0,
}


class Backlog:
    """What is under way in one replica. Belongs to one event loop. `clock`: monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ongoing = 0
        self._units = 0.0  # under way
        self._shared_s = (
            0.0  # what a request would have had of this replica's time, if it had been there from the start
        )
        self._changed_at = clock()
        self._took_s = self._done = 0.0  # what was learnt: so long for so many units

    @contextmanager
    def request(self, units: float) -> Iterator[None]:
        """One request, from its arrival to its end. What breaks off teaches nothing."""
        self._pass_time()
        began_s = self._shared_s
        self._ongoing += 1
        self._units += units
        try:
            yield
            self._pass_time()
            self._learn(self._shared_s - began_s, units)
        finally:
            self._pass_time()
            self._ongoing -= 1
            self._units = self._units - units if self._ongoing else 0.0

    @property
    def unit_s(self) -> float | None:
        """What a unit takes; None before anything was done."""
        return self._took_s / self._done if self._done else None

    def routing_stats(self) -> dict[str, Any]:
        """For `record_routing_stats`, rounded: an idle replica says the same every time, which is not sent on."""
        if (unit_s := self.unit_s) is None:
            return {"ongoing": self._ongoing}
        return {
            "ongoing": self._ongoing,
            "queued_s": round(self._units * unit_s, 2),
            "unit_s": float(f"{unit_s:.2g}"),
        }

    def _pass_time(self) -> None:
        now = self._clock()
        if self._ongoing:
            self._shared_s += (now - self._changed_at) / self._ongoing
        self._changed_at = now

    def _learn(self, took_s: float, units: float) -> None:
        self._took_s += took_s
        self._done += units
        if self._took_s > MEMORY_S:
            self._took_s, self._done = self._took_s / 2, self._done / 2
