"""What an LLM writes, made speakable: Markdown, links, emoji, code, symbols and abbreviations become English words.

Letters of every language pass unchanged. The text that the caller reads stays as it was written.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from serve_app.conversation.speakable_numbers import spoken_numbers

_Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]

CODE_BLOCK = " Code omitted. "
"""What is said in place of a block of code: nobody can follow code by ear."""

NEVER_SPOKEN: Final = "*_#<>|[]{}`\\^~"
"""Characters that no speakable text has in it."""

_ENDS = ".!?:;,…"


def _address(found: re.Match[str]) -> str:
    """https://www.example.com/a/b -> link to example dot com; a sentence's own punctuation stays behind."""
    address = found["address"]
    bare = address.rstrip(".,;:!?'\")")
    host = re.sub(r"^[\w.+-]*@|^www\.|:\d+$", "", re.split(r"[/?#]", bare, maxsplit=1)[0])
    return f"link to {host.replace('.', ' dot ').replace('-', ' ')}{address[len(bare) :]}"


def _mail(found: re.Match[str]) -> str:
    return re.sub(r"[._-]", lambda c: {".": " dot ", "_": " ", "-": " "}[c[0]], found[0]).replace("@", " at ")


def _rules(*rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> list[_Rule]:
    return [(re.compile(pattern, re.MULTILINE), said) for pattern, said in rules]


_CODE_BLOCK: Final = re.compile(r"(?s)(?:```|~~~).*?(?:```|~~~|\Z)")
_INLINE: Final = _rules(
    (r"!?\[([^\]\n]{0,300})\]\([^)\n]{0,500}\)?", r"\1"),  # links and images
    (r"!?\[([^\]\n]{1,300})\]\[[^\]\n]{0,300}\]", r"\1"),
    (r"\[\^?\d+\]:?", ""),  # footnotes
    (r"`([^`\n]*)`", r"\1"),
    (r"(?i)<?\b(?:https?|ftp)://(?P<address>[^\s<>\])}*`|]+)>?", _address),
    (r"(?i)\b(?P<address>www\.[^\s<>\])}*`|]+)", _address),
    (r"\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+\b", _mail),
    (r"(?i)</?[a-z][^<>\n]{0,80}>|<!--.{0,200}?-->", " "),
    (r"&(?:amp|lt|gt|quot|nbsp|#39);", lambda found: {"&amp;": " and ", "&nbsp;": " "}.get(found[0], "")),
    (r"(?<!\S)[:;]-?[)(DPp](?!\S)", ""),  # smileys
    (r"\*\*+|~~+", ""),
    (r"(?<![\w*])\*(?=\S)|(?<=\S)\*(?![\w*])", ""),
    (r"(?<!\w)_+|_+(?!\w)", ""),
)
_WORDS: Final = _rules(
    (r"\bDr\.(?=\s+[A-Z])", "Doctor"),
    (r"\bMr\.(?=\s)", "Mister"),
    (r"\bMrs\.(?=\s)", "Missus"),
    (r"\bMs\.(?=\s)", "Miss"),
    (r"\bProf\.(?=\s)", "Professor"),
    (r"\bSt\.(?=\s+[A-Z])", "Saint"),
    (r"\b[Ee]\.\s?g\.,?", "for example,"),
    (r"\b[Ii]\.\s?e\.,?", "that is,"),
    (r"\betc\.(?=\s+[a-z]|,)", "et cetera"),
    (r"\betc\.", "et cetera."),
    (r"\bvs?\.(?=\s)", "versus"),
    (r"\b[Aa]pprox\.", "approximately"),
    (r"\b[Ff]ig\.(?=\s?\d)", "figure"),
    (r"\bw/o\b", "without"),
    (r"\bw/(?=\s)", "with"),
    (r"\bC\+\+", "C plus plus"),
    (r"\b([CF])#", r"\1 sharp"),
    (r"\b(?:[A-Z]\.){2,}", lambda found: " ".join(found[0].split(".")).strip()),  # U.S.
    (r"\s?<=\s?|\s?≤\s?", " at most "),
    (r"\s?>=\s?|\s?≥\s?", " at least "),
    (r"\s?(?:->|=>|→|⇒|⟶)\s?", " to "),
    (r"\s?(?:<-|←|⇐)\s?", " from "),
    (r"\s?(?:!=|≠)\s?", " is not "),
    (r"\s?={1,3}\s?", " equals "),
    (r"(?<=\w)\s<\s(?=\w)", " is less than "),
    (r"(?<=\w)\s>\s(?=\w)", " is greater than "),
    (r"(?:≈|≅|~(?=\d))\s?", " about "),
    (r"\s?±\s?", " plus or minus "),
    (r"\s?[×·]\s?|(?<=\w)\s\*\s(?=\w)", " times "),
    (r"\s?÷\s?", " divided by "),
    (r"\s?&\s?", " and "),
    (r"(?<=\w)\s?\+\s?(?=\w)", " plus "),
    (r"(?<!\w)@(?=\w)", "at "),
    (r"\s@\s", " at "),
    (r"²", " squared"),
    (r"³", " cubed"),
    (r"√", " the square root of "),
    (r"∞", " infinity"),
    (r"π", " pi "),
    (r"\s?[%‰]", " percent"),
    (r"°", " degrees"),
    (r"§\s?", "section "),
    (r"[©®™]", ""),
    (r"(?<=[^\W\d])/(?=[^\W\d])", " "),  # and/or, TCP/IP
    (r"\s+[-–—]+\s+|\s?—\s?|--+", ", "),
)
_TIDY: Final = _rules(
    (r"[" + re.escape(NEVER_SPOKEN) + r"]", " "),
    (r"\s+", " "),
    (r" +(?=[,.;:!?…](?: |$)|\))", ""),
    (r"([,;:])(?:\s*[,;:])+", r"\1"),
    (r"[,;:]+(?=[.!?])", ""),
    (r"([.!?])\s*[,;:]", r"\1"),
    (r"\(\s*\)|\"\s*\"", ""),
    (r"^[\s,.;:!?…]+", ""),
)


def speakable(text: str, *, line_start: bool = True) -> str:
    """The words to speak for `text`: "" where there is nothing to say.

    `line_start` says whether `text` begins a line: only there are "#", "-", ">" and "1." marks of Markdown.
    """
    text = _lines(_CODE_BLOCK.sub(CODE_BLOCK, text), line_start)
    text = _applied(_WORDS, spoken_numbers(_applied(_INLINE, _without_emoji(text))))
    text = _applied(_TIDY, text).strip()
    return text if any(character.isalnum() for character in text) else ""


def _applied(rules: list[_Rule], text: str) -> str:
    for pattern, said in rules:
        text = pattern.sub(said, text)
    return text


# --- lines

_QUOTE = re.compile(r"\s*(?:>\s?)+")
_HEADING = re.compile(r"\s*#{1,6}\s+")
_BULLET = re.compile(r"\s*[-*+•‣▪]\s+(?:\[[ xX]\]\s+)?")
_NUMBERED = re.compile(r"\s*(\d{1,3})[.)]\s+(?=\S)")


def _lines(text: str, line_start: bool) -> str:
    first, *others = text.split("\n")
    lines = [_line(first, bool(others)) if line_start else first, *(_line(line, True) for line in others)]
    return "\n".join(lines)


def _line(line: str, whole: bool) -> str:
    """Without its mark; what was set apart by a mark ends like a sentence."""
    if _is_ruled(line):
        return ""
    line = _QUOTE.sub("", line, count=1) if _QUOTE.match(line) else line
    if line.lstrip().startswith("|"):
        return ", ".join(cell.strip() for cell in line.split("|") if cell.strip()) + "."
    for mark, said in ((_HEADING, ""), (_BULLET, ""), (_NUMBERED, r"\1, ")):
        if mark.match(line):
            line = mark.sub(said, line, count=1).rstrip()
            return line + "." if whole and line and line.rstrip("*_`\"') ")[-1:] not in _ENDS else line
    return line


def _is_ruled(line: str) -> bool:
    """A rule (---), the line under a title (===), or the one under a table's head (|---|:-:|)."""
    marks = "".join(line.split())
    return (len(marks) > 2 and len(set(marks)) == 1 and marks[0] in "-*_=") or (
        set(marks) >= {"|", "-"} >= set(marks) - {":"}
    )


# --- emoji

_JOINERS = {"\u200d", "\ufe0e", "\ufe0f", "\u20e3"}
_SAID_SYMBOLS = set("°©®™№℃℉")


def _without_emoji(text: str) -> str:
    """Pictures are dropped, with the invisible characters that join them."""
    kept: list[str] = []
    picture = False  # is the last character a part of one?
    for character in text:
        category = unicodedata.category(character)
        picture = (
            (category == "So" and character not in _SAID_SYMBOLS)
            or category in ("Cs", "Co", "Cn")
            or (category == "Cc" and not character.isspace())
            or "\U0001f3fb" <= character <= "\U0001f3ff"
            or "\U000e0020" <= character <= "\U000e007f"
            or (character in _JOINERS and (picture or character != "\u200d"))
        )
        kept.append(" " if picture else character)
    return "".join(kept)
