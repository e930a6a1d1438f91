"""One page of HTML that needs nothing beside it: every take with its strip, its sound, its words and its verdict."""

import base64
import io
import wave
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from loadtest.facts import Facts
from loadtest.recording import RATE_HZ
from loadtest.strip import draw_strip
from loadtest.take import Take

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #333 }
pre { overflow-x: auto; background: #f6f6f6; padding: 1rem; font-size: 12px }
section { border-top: 1px solid #ddd; padding: 1rem 0 }
.strip { overflow-x: auto }
audio { width: 100% }
.bad { color: #b3261e } .good { color: #2e7d32 }
h2 span { font-weight: normal; font-size: 1rem }
"""


def render(title: str, table: str, takes: Sequence[tuple[Take, Facts]]) -> str:
    """All of it. The recordings are in the page: left the caller, right the agent."""
    contents = "".join(f'<a href="#{take.name}">{take.name}</a> ' for take, _ in takes)
    head = f"<title>{escape(title)}</title><meta charset='utf-8'><style>{STYLE}</style>"
    body = f"<h1>{escape(title)}</h1><pre>{escape(table)}</pre><p>{contents}</p>"
    return (
        f"<!doctype html><html lang='en'><head>{head}</head><body>{body}{''.join(map(_section, takes))}</body></html>\n"
    )


def _section(shown: tuple[Take, Facts]) -> str:
    take, facts = shown
    verdict = "good" if facts.good and not take.failed else "bad"
    word = "as it should be" if verdict == "good" else "not as it should be"
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in facts.sentences)
    words = "".join(f"<li>{escape(line)}</li>" for line in transcript(take))
    return (
        f"<section id='{take.name}'><h2>{take.name} <span class='{verdict}'>{word}</span></h2>"
        f"<p>{escape(take.case.about)}</p><div class='strip'>{draw_strip(take)}</div>"
        f"<audio controls preload='none' src='{sound_uri(stereo(take))}'></audio>"
        f"<h3>Verdict</h3><ul>{lines}</ul><h3>Words</h3><ul>{words}</ul></section>"
    )


def transcript(take: Take) -> list[str]:
    """Who said what when: what the caller said, what was understood of it, and what the agent said."""
    last = {(moment.kind, moment.item): moment for moment in take.moments if moment.kind in ("final", "agent_text")}
    lines = [(said.first, f"{said.role}: {said.what}") for said in take.said]
    lines += [
        (moment.at, f"{'understood' if moment.kind == 'final' else 'agent'}: {moment.text}")
        for moment in last.values()
        if moment.text
    ]
    lines += [(moment.at, f"problem: {moment.text}") for moment in take.moments if moment.kind == "problem"]
    lines += [(moment.at, f"kept: {moment.text}") for moment in take.moments if moment.kind == "history"]
    return [f"{at / RATE_HZ:6.2f} s  {line}" for at, line in sorted(lines)]


def stereo(take: Take) -> NDArray[np.int16]:
    """int16[n, 2] at 24 kHz: left the caller, right the agent."""
    end = max(len(take.caller), len(take.agent))
    return np.stack([np.pad(side, (0, end - len(side))) for side in (take.caller, take.agent)], axis=1)


def sound_uri(both: NDArray[np.int16]) -> str:
    """FLAC where the package `soundfile` is there, else WAV of three times the size; every browser plays either."""
    file = io.BytesIO()
    try:
        import soundfile

        soundfile.write(file, both, RATE_HZ, format="FLAC", subtype="PCM_16")
        kind = "audio/flac"
    except (ImportError, OSError):
        with wave.open(file, "wb") as plain:
            plain.setparams((2, 2, RATE_HZ, 0, "NONE", ""))
            plain.writeframes(both.astype("<i2").tobytes())
        kind = "audio/wav"
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
