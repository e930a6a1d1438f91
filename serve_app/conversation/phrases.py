"""Text as it is written -> phrases worth speaking, the first one short, so that it is heard soon.

Pure: no clock, no tasks. A phrase ends where a reader would breathe, never within a word, a number, an abbreviation,
a link or code.
"""

import re
from dataclasses import dataclass
from math import inf
from typing import Final

from serve_app.conversation.speakable import speakable

FIRST_WORDS = 3  # about .8 s of speech: as long as the second phrase takes to be written and made
HURRIED_WORDS = 3  # of fewer the next ones would have to hurry, too
LATE_WORDS = 2  # better than silence
LONGEST = 120  # characters: about 8 s of speech; the second phrase is half of it
_CLAUSE = 40  # characters after which the end of a clause is good enough


@dataclass(frozen=True, slots=True)
class Phrase:
    """A piece of an answer. All `text`s joined are the answer as it was written.

    `spoken` is what to say for it; "" where there is nothing to say, which only the last phrase may be.
    """

    text: str
    spoken: str
    first: bool


class SpokenPhrases:
    """Takes an answer's text as it comes and gives phrases as soon as they are worth speaking."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._text = ""
        self._count = 0
        self._line_start = True

    def push(self, delta: str) -> list[Phrase]:
        """Some more text -> the phrases that it completes."""
        self._text += delta
        return self._ready()

    def hurry(self, words: int = HURRIED_WORDS) -> list[Phrase]:
        """The voice is about to fall silent: what is there, up to the last word that is surely whole, if it is so many.
        Never of the first phrase, before which it is silent anyway."""
        if not self._count:
            return []
        whole = [found.span() for found in _WHOLE.finditer(self._text)]
        for breath in reversed(_breaths(self._text, self._line_start)):
            if breath.words < words:
                break
            if breath.kind != "bound" and not breath.after_number and not self._is_inside(breath.at, whole):
                spoken = speakable(self._text[: breath.at], line_start=self._line_start)
                return [self._phrase(breath.at, spoken)] if spoken else []
        return []

    @property
    def words_in_hand(self) -> float:
        """Written and not in the first phrase, the last of them perhaps not to its end; infinite once there is a second
        phrase, and fewer than none before there is a first."""
        return inf if self._count > 1 else len(self._text.split()) if self._count else -1

    def flush(self) -> list[Phrase]:
        """There will be no more text: the phrases that are left."""
        phrases = self._ready()
        if self._text:
            phrases.append(self._phrase(len(self._text), speakable(self._text, line_start=self._line_start)))
        return phrases

    def _ready(self) -> list[Phrase]:
        phrases = []
        least = 0
        while cut := self._cut(least):
            spoken = speakable(self._text[:cut], line_start=self._line_start)
            if spoken:
                phrases.append(self._phrase(cut, spoken))
            least = 0 if spoken else cut  # what cannot be spoken goes with what follows
        return phrases

    def _phrase(self, cut: int, spoken: str) -> Phrase:
        text, self._text = self._text[:cut], self._text[cut:]
        last_line = text.rpartition("\n")
        self._line_start = not last_line[2].strip() and (bool(last_line[1]) or self._line_start)
        self._count += 1
        return Phrase(text, spoken, first=self._count == 1)

    def _cut(self, least: int) -> int:
        """Where the next phrase ends, after `least` characters; 0 while that cannot be told."""
        longest = least + (self._longest if self._count > 1 else self._longest // 2)
        whole = [found.span() for found in _WHOLE.finditer(self._text)]
        breaths = [
            breath
            for breath in _breaths(self._text[: 3 * longest], self._line_start)
            if breath.at > least and not self._is_inside(breath.at, whole)
        ]
        for breath in breaths:
            if breath.at <= longest and self._is_good(breath):
                return breath.at
        return _forced(breaths, longest, whole, len(self._text)) if len(self._text) > longest else 0

    def _is_inside(self, at: int, whole: list[tuple[int, int]]) -> bool:
        """What reaches to the end of the text may be unfinished."""
        return any(first < at and (at < end or end == len(self._text)) for first, end in whole)

    def _is_good(self, breath: "_Breath") -> bool:
        if breath.kind == "sentence" or (breath.kind == "clause" and (not self._count or breath.at >= _CLAUSE)):
            return True
        enough = not self._count and breath.words >= FIRST_WORDS
        return enough and breath.kind == "word" and not breath.after_number


@dataclass(frozen=True, slots=True)
class _Breath:
    """A place between two words. `words` come before it; `after_number`: a unit may follow."""

    at: int
    kind: str
    words: int
    after_number: bool


_ABBREVIATIONS: Final = frozenset(
    {"dr", "mr", "mrs", "ms", "prof", "st", "jr", "sr", "no", "vs", "etc", "approx", "e.g", "i.e", "a.m", "p.m", "fig"}
    | {"inc", "ltd", "co", "gen", "col", "sgt", "lt", "rev", "hon", "ca", "cf", "al"}
)
_WHOLE: Final = re.compile(  # never cut inside; each may still be unfinished at the end of the text
    r"(?s:(?:```|~~~).*?(?:(?:```|~~~)|\Z))"
    r"|`[^`\n]{0,200}(?:`|\Z)"
    r"|\[[^\]\n]{0,200}(?:\Z|\](?:\([^)\n]{0,500}(?:\)|\Z))?)"
    r"|<[A-Za-z/][^<>\n]{0,80}(?:>|\Z)"
    r"|\b(?:https?|ftp)://\S+"
    r"|\+\d[\d ()/-]{0,20}"
    r"|\d\s?[-–]\s(?=\d|\Z)"
)
_SPACES: Final = re.compile(r"\s+|(?<=[。！？，；：、])(?=\S)")
_CLOSERS: Final = "\"'”’)]*_`»"


def _breaths(text: str, line_start: bool) -> list[_Breath]:
    breaths = []
    words = 0
    begin = 0
    for gap in _SPACES.finditer(text):
        word = text[begin : gap.start()]
        words += any(character.isalnum() for character in word)
        opens_line = "\n" in text[:begin][-1:] or (not text[:begin].strip() and line_start)
        kind = "sentence" if "\n" in gap[0] and word else _kind(word, opens_line)
        core = word.rstrip(_CLOSERS)
        breaths.append(_Breath(gap.end(), kind, words, core[-1:].isdigit() or core[-1:] in "$€£-–+~#"))
        begin = gap.end()
    return breaths


def _kind(word: str, opens_line: bool) -> str:
    """What ends with `word`: a sentence, a clause, only the word, or nothing ("bound": it belongs to the next)."""
    core = word.rstrip(_CLOSERS)
    if not core or (opens_line and re.fullmatch(r"\d{1,3}[.)]|[-*+>#•]+", word)):
        return "bound"
    if core[-1] in "!?…。！？":
        return "sentence"
    if core[-1] == ".":
        stem = core.rstrip(".").lstrip("([\"'*_“‘").lower()
        bound = stem in _ABBREVIATIONS or re.fullmatch(r"[a-z](?:\.[a-z])*", stem)
        return "bound" if bound and not core.endswith("..") else "sentence"
    if core[-1] in ",;:，；：":
        return "bound" if core[-2:-1].isdigit() and core[-1] == "," else "clause"
    return "clause" if core in ("—", "–") or core[-1] == "—" else "word"


def _forced(breaths: list[_Breath], longest: int, whole: list[tuple[int, int]], length: int) -> int:
    """No good place within `longest` characters: the last clause, else the last word, else the first that comes.

    Only a word twice as long as a phrase is cut in itself, and no link or code is: those are short when spoken.
    """
    for kind in ("clause", "word", "bound"):
        fitting = [breath.at for breath in breaths if breath.at <= longest and breath.kind == kind]
        if fitting:
            return fitting[-1]
    if breaths and breaths[0].at <= 2 * longest:
        return breaths[0].at
    for first, end in whole:
        if first <= 2 * longest < end:
            return end if end < length else 0
    return 2 * longest if length > 2 * longest else 0
