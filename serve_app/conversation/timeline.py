"""The named moments of a turn, and the durations between them.

The only place that reads a clock for a call. Moments may come in any order; each is stamped once, and those of a
speculation that was dropped are taken back.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Moment = Literal[
    "caller_started",
    "caller_stopped",  # the last voiced sample, not the decision that it was the last
    "turn_judged",
    "transcript_started",
    "transcript_ready",
    "llm_started",
    "llm_first_token",
    "llm_finished",
    "tts_started",
    "tts_first_audio",
    "tts_finished",
    "first_frame_sent",
    "agent_stopped",
    "interruption_started",
    "playout_paused",
    "playout_stopped",
]

CHAIN: tuple[tuple[Moment, str], ...] = (
    ("turn_judged", "end of turn"),
    ("transcript_ready", "transcript"),
    ("llm_first_token", "first token"),
    ("tts_started", "first phrase"),
    ("tts_first_audio", "first audio"),
    ("first_frame_sent", "sending"),
)
"""What the caller waits for, in the order in which one needs the other. A segment is the time by which its moment
comes after all earlier ones, so speculative work that was hidden in the silence counts nothing and all add up."""

ORIGINS: tuple[Moment, ...] = ("caller_stopped", "turn_judged", "llm_started")


EPOCH_S = time.time() - time.monotonic()
"""The zero of `now_s`, for those who want a date."""


def now_s() -> float:
    """Seconds on a clock that never jumps."""
    return time.monotonic()


def epoch_ns(at_s: float) -> int:
    """When that was, in nanoseconds since 1970."""
    return round((at_s + EPOCH_S) * 1e9)


@dataclass(frozen=True, slots=True)
class Stamp:
    at_s: float
    speculative: bool


@dataclass(frozen=True, slots=True)
class Segment:
    name: str
    start: Moment
    end: Moment
    ms: float


@dataclass(slots=True)
class Timeline:
    """One turn. `outcome` says how it ended: answered, interrupted, cancelled, failed or unanswered.

    `gaps_ms`: silences inside the answer because its next sound was not made in time; None where nothing sounded, or
    where the client's player has the clock.
    """

    turn: int
    outcome: str = "unanswered"
    stamps: dict[Moment, Stamp] = field(default_factory=dict)
    gaps_ms: Sequence[float] | None = None

    def stamp(self, moment: Moment, *, at_s: float | None = None, speculative: bool = False) -> None:
        """The moment is now, or was at `at_s`. Later stamps of the same moment are ignored."""
        self.stamps.setdefault(moment, Stamp(now_s() if at_s is None else at_s, speculative))

    def restamp(self, moment: Moment, *, at_s: float | None = None, speculative: bool = False) -> None:
        """The moment came again, and only the last time counts."""
        self.stamps.pop(moment, None)
        self.stamp(moment, at_s=at_s, speculative=speculative)

    def take_back(self, moments: Iterable[Moment]) -> None:
        for moment in moments:
            self.stamps.pop(moment, None)

    def origin(self) -> Moment | None:
        """The zero of the turn: the caller's last voiced sample; for typed turns, when the answer was begun."""
        return next((moment for moment in ORIGINS if moment in self.stamps), None)

    def origin_s(self) -> float | None:
        """When that was."""
        origin = self.origin()
        return None if origin is None else self.stamps[origin].at_s

    def segments(self) -> list[Segment]:
        """What the caller waited for; the sum is `voice_to_voice_ms`."""
        before = self.origin()
        if before is None:
            return []
        reached, result = self.stamps[before].at_s, []
        for moment, name in CHAIN:
            if moment not in self.stamps or moment == before:
                continue
            at_s = max(reached, self.stamps[moment].at_s)
            result.append(Segment(name, before, moment, (at_s - reached) * 1000))
            reached, before = at_s, moment
        return result

    def voice_to_voice_ms(self) -> float | None:
        """From the caller's last voiced sample to the first audio given to the transport."""
        origin = self.origin_s()
        if origin is None or "first_frame_sent" not in self.stamps:
            return None
        return sum(segment.ms for segment in self.segments())

    def as_message(self) -> dict[str, object]:
        """The turn for other programs: JSON, times in ms relative to `origin`."""
        origin = self.origin_s() or 0.0
        ordered = sorted(self.stamps.items(), key=lambda item: item[1].at_s)
        voice_to_voice_ms = self.voice_to_voice_ms()
        return {
            "turn": self.turn,
            "outcome": self.outcome,
            "origin": self.origin(),
            "moments": [
                {"name": name, "at_ms": round((stamp.at_s - origin) * 1000, 1), "speculative": stamp.speculative}
                for name, stamp in ordered
            ],
            "segments": [
                {"name": segment.name, "from": segment.start, "to": segment.end, "ms": round(segment.ms, 1)}
                for segment in self.segments()
            ],
            "voice_to_voice_ms": None if voice_to_voice_ms is None else round(voice_to_voice_ms, 1),
            "gaps_ms": None if self.gaps_ms is None else [round(gap, 1) for gap in self.gaps_ms],
            "text": self.waterfall(),
        }

    def waterfall(self) -> str:
        """The turn drawn for people: each moment with its step and total, then the segments, which add up."""
        total = self.voice_to_voice_ms()
        headline = f"turn {self.turn} {self.outcome}"
        if total is not None:
            headline += f": voice to voice {total:.0f} ms"
        if self.gaps_ms:
            headline += f"; its sound came late: {', '.join(f'{gap:.0f}' for gap in self.gaps_ms)} ms of silence inside"
        return "\n".join([headline, *self._moment_lines(), *self._segment_lines()])

    def _moment_lines(self) -> list[str]:
        origin = self.origin_s() or 0.0
        lines, before = [], None
        for name, stamp in sorted(self.stamps.items(), key=lambda item: item[1].at_s):
            total_ms = (stamp.at_s - origin) * 1000
            step = "" if before is None else f"{(stamp.at_s - before) * 1000:+8.0f}"
            lines.append(f"  {name:<20} {step:>8} {total_ms:8.0f} ms{'  speculative' if stamp.speculative else ''}")
            before = stamp.at_s
        return lines

    def _segment_lines(self) -> list[str]:
        segments = self.segments()
        total = sum(segment.ms for segment in segments)
        width, reached, lines = 40, 0.0, []
        for segment in segments:
            first, last = (round(edge / (total or 1) * width) for edge in (reached, reached + segment.ms))
            lines.append(f"  {segment.name:<12} {segment.ms:7.0f} ms  {' ' * first}{'█' * (last - first)}".rstrip())
            reached += segment.ms
        return lines
