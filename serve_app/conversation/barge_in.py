"""Does the sound that made the agent fall silent take the turn? Weighed by voice, echo and words. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from serve_app.call_options import TurnTakingOptions


class Verdict(Enum):
    INTERRUPTION = auto()
    """The agent stops for good; the caller has the turn."""
    FALSE_ALARM = auto()
    """The agent speaks on."""


@dataclass(frozen=True, slots=True)
class Intrusion:
    """A sound over the agent's voice, as far as it is known."""

    voiced_ms: int
    silence_ms: int
    """Since its last voiced window."""
    held_ms: int
    """Since the agent fell silent for it."""
    level_dbfs: float = -20.0
    echo_likeness: float = 0.0
    """From 0 to 1, as `echo.likeness` has it."""
    words: str | None = None
    """What the ASR hears in it; "": nothing; None: it has not answered."""
    orders_silence: bool = False
    """The words are nothing but an order to be silent, and the agent itself does not say them."""
    own_words: bool = False
    """The agent itself says them, one after the other."""
    unread_ms: int = 0
    """Voice that was heard since the audio of `words` ended."""
    words_expected: bool = True
    """The ASR is to answer, or may be asked again."""


class BargeInJudge(Protocol):
    """Asked after every window of a hold, and whenever words have come."""

    def verdict(self, intrusion: Intrusion) -> Verdict | None:
        """None: not yet."""
        ...


@dataclass(frozen=True, slots=True)
class VoiceJudge:
    """Voice alone decides."""

    options: TurnTakingOptions

    def verdict(self, intrusion: Intrusion) -> Verdict | None:
        if intrusion.voiced_ms >= self.options.interruption_ms:
            return Verdict.INTERRUPTION
        if intrusion.silence_ms >= self.options.hold_ms or intrusion.held_ms >= self.options.undecided_ms:
            return Verdict.FALSE_ALARM
        return None


class WordsJudge:
    """Words take the turn unless they are backchannels; echo, coughs and noise never do. "Stop" does in any case."""

    def __init__(self, options: TurnTakingOptions) -> None:
        self._options = options
        self._backchannels = Backchannels(options.backchannels)
        self._hums = Backchannels(options.hums)

    def verdict(self, intrusion: Intrusion) -> Verdict | None:
        if intrusion.orders_silence:
            return Verdict.INTERRUPTION
        if intrusion.echo_likeness >= self._options.echo_likeness:
            return Verdict.FALSE_ALARM
        if intrusion.words is None and not intrusion.words_expected:
            return VoiceJudge(self._options).verdict(intrusion)
        if not intrusion.words:
            return self._without_words(intrusion)
        if self._backchannels.may_be_all_of(intrusion.words):
            return self._backchannel(intrusion)
        return self._words(intrusion)

    def _words(self, intrusion: Intrusion) -> Verdict | None:
        if intrusion.own_words and intrusion.voiced_ms < self._options.unheard_ms:
            return self._unless_it_goes_on(intrusion)  # it does not: an echo ends when the agent falls silent for it
        doubtful = intrusion.echo_likeness >= self._options.echo_doubt
        if doubtful and intrusion.voiced_ms < self._options.unheard_ms and not self._late(intrusion):
            return None  # an echo has words as well, and is known for certain a little later
        return Verdict.INTERRUPTION

    def _backchannel(self, intrusion: Intrusion) -> Verdict | None:
        if intrusion.voiced_ms < self._options.hum_ms and self._hums.are_all_of(intrusion.words or ""):
            return Verdict.FALSE_ALARM
        return self._unless_it_goes_on(intrusion)

    def _unless_it_goes_on(self, intrusion: Intrusion) -> Verdict | None:
        """These words are nothing, if no others follow."""
        if intrusion.silence_ms >= self._options.backchannel_silence_ms and not intrusion.unread_ms:
            return Verdict.FALSE_ALARM
        return Verdict.INTERRUPTION if self._too_long(intrusion) else None

    def _without_words(self, intrusion: Intrusion) -> Verdict | None:
        options = self._options
        brief = intrusion.voiced_ms < options.interruption_ms
        nothing_heard = intrusion.words == "" and not intrusion.unread_ms
        if intrusion.silence_ms >= options.hold_ms and brief:
            return Verdict.FALSE_ALARM
        if intrusion.silence_ms >= options.backchannel_silence_ms and nothing_heard:
            return Verdict.FALSE_ALARM
        if self._too_long(intrusion) and (brief or intrusion.words == "" or self._faint(intrusion)):
            return Verdict.FALSE_ALARM
        if intrusion.words is not None:
            return None
        long = intrusion.voiced_ms >= options.unheard_ms and not self._faint(intrusion)
        return Verdict.INTERRUPTION if long or self._too_long(intrusion) else None

    def _faint(self, intrusion: Intrusion) -> bool:
        return intrusion.level_dbfs < self._options.faint_dbfs

    def _too_long(self, intrusion: Intrusion) -> bool:
        return intrusion.held_ms >= self._options.undecided_ms

    def _late(self, intrusion: Intrusion) -> bool:
        return intrusion.silence_ms >= self._options.hold_ms or self._too_long(intrusion)


def judge_for(options: TurnTakingOptions) -> BargeInJudge:
    return VoiceJudge(options) if options.barge_in == "voice" else WordsJudge(options)


class Backchannels:
    """Sounds that say "go on". Case, punctuation and drawn-out letters ("mmm", "okaaay") make no difference."""

    def __init__(self, phrases: Iterable[str]) -> None:
        known = {plain(phrase) for phrase in phrases} - {""}
        self._phrases = sorted(known, key=len, reverse=True)

    def may_be_all_of(self, text: str) -> bool:
        """Is `text` only backchannels, the last of which may be cut short?"""
        rest = self._without_them(text)
        return any(known.startswith(rest) for known in self._phrases) or not rest

    def are_all_of(self, text: str) -> bool:
        """Is `text` nothing but backchannels, and whole ones?"""
        return plain(text) != "" == self._without_them(text)

    def _without_them(self, text: str) -> str:
        """What is left of the plain `text` after those that it begins with."""
        rest = plain(text)
        while phrase := next((known for known in self._phrases if f"{rest} ".startswith(f"{known} ")), None):
            rest = rest[len(phrase) :].lstrip()
        return rest


def repeats(words: str, text: str) -> bool:
    """Are these words in the text, one after the other, the last of them perhaps cut short?"""
    return plain(words) != "" and f" {plain(words)}" in f" {plain(text)}"


def plain(text: str) -> str:
    """Lower case words without punctuation, a space between them, no letter twice in a row."""
    words = re.findall(r"[^\W_]+", re.sub(r"['’]", "", text.lower()))
    return re.sub(r"(.)\1+", r"\1", " ".join(words))
