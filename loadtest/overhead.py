"""What of a turn's time was the models' own, what was silence, and what was the system's.

For each turn, in ms:

    voice_to_voice  last voiced sample of the caller to first voiced sample of the answer, from the recording
    floor           the models' own times for the same input (`deployments.measure`, same machine, same run):
                    transcript, first phrase, its first audio; plus the way to the server and back (the WebSocket's
                    ping)
    waited          the silence waited for: the time in which nothing was left to do but to see whether the caller goes
                    on. The server prepares its answer while it waits, so this is not the whole silence before the
                    turn was judged over, but only
                      * the part of it before the work began: up to `transcript_started` where the server stamps that
                        moment, else nothing, so that an unknown wait is never taken for silence, and
                      * each time that finished work lay there until the judgement: where `turn_judged` falls between
                        the end of one step and the start of the next, from that end to `turn_judged`.
    overhead        voice_to_voice - floor - waited. It can be below zero where the models run faster in the call than
                    alone, or begin before the caller has finished.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

HAND_OVERS = (("transcript_ready", "llm_started"), ("tts_first_audio", "first_frame_sent"))
"""Where one step's result waits for the next, and where the judgement can be what it waits for."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn, measured. `timeline` is the server's; `voice_to_voice_ms` is not."""

    file: str
    heard: str
    text: str
    status: str
    voice_to_voice_ms: float
    round_trip_ms: float
    timeline: Mapping[str, Any]

    @property
    def moments(self) -> dict[str, float]:
        """Name -> ms after the caller's last voiced sample, by the server's clock."""
        return {moment["name"]: float(moment["at_ms"]) for moment in self.timeline.get("moments", ())}


def waited_ms(moments: Mapping[str, float]) -> float:
    """The silence waited for, as defined above. Nothing where the turn was never judged, as in a typed one."""
    judged = moments.get("turn_judged")
    if judged is None:
        return 0.0
    before = max(0.0, min(judged, moments.get("transcript_started", 0.0)))
    return before + sum(_held(moments, done, started, judged) for done, started in HAND_OVERS)


def _held(moments: Mapping[str, float], done: str, started: str, judged: float) -> float:
    if done not in moments or started not in moments or not moments[done] < judged <= moments[started]:
        return 0.0
    return judged - max(0.0, moments[done])


def overhead_ms(turn: Turn, models_ms: float) -> float:
    return turn.voice_to_voice_ms - (models_ms + turn.round_trip_ms) - waited_ms(turn.moments)


def moment_table(turns: Sequence[Turn]) -> dict[str, list[float]]:
    """Each moment's times over all turns, in the order in which they usually come."""
    names = dict.fromkeys(name for turn in turns for name in turn.moments)
    table = {name: [turn.moments[name] for turn in turns if name in turn.moments] for name in names}
    return dict(sorted(table.items(), key=lambda row: sorted(row[1])[len(row[1]) // 2]))


def median_turn(turns: Iterable[Turn]) -> Turn:
    """The turn in the middle of them, by voice-to-voice: a real one, so that its moments belong together."""
    ordered = sorted(turns, key=lambda turn: turn.voice_to_voice_ms)
    return ordered[(len(ordered) - 1) // 2]
