"""One pause again, as the listener feeds it to the judge: window by window, opinions when they come. Pure."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from serve_app.conversation.judging import TurnJudge
from serve_app.evaluation.pauses import WINDOW_MS, Latencies, Pause

PAUSE_MS = 64
"""The silence after which a pause begins (`call.listening.pause_ms`), the transcript with it."""
LONGEST_MS = 10_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one pause was judged. `after_ms` of silence, as if nobody had gone on; None: not within 10 s."""

    pause: Pause
    after_ms: float | None

    @property
    def cut_in(self) -> bool:
        """The turn was taken for over while the caller was about to go on."""
        return self.pause.lasts_ms is not None and self.after_ms is not None and self.after_ms < self.pause.lasts_ms


class _Replay:
    """What happens in one pause, in order. Opinions stand where windows do not: between two, at any time."""

    def __init__(self, pause: Pause, judge: TurnJudge, latencies: Latencies) -> None:
        self._pause, self._judge, self._latencies = pause, judge, latencies
        self._pending: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = 0

    def run(self) -> float | None:
        self._later(PAUSE_MS + self._latencies.transcript_ms, self._words)
        last_ms = min(LONGEST_MS, self._pause.lasts_ms or LONGEST_MS)
        for silence_ms in range(PAUSE_MS, last_ms, WINDOW_MS):
            if (at_ms := self._opinions(silence_ms)) is not None:
                return at_ms
            if self._judge.wants_opinion(silence_ms):
                sound = self._sound(silence_ms)
                self._later(silence_ms + self._latencies.turn_ms, sound)
            if self._judge.is_over(silence_ms):
                return float(silence_ms)
        return None

    def _opinions(self, before_ms: int) -> float | None:
        """Those that came since the window before this one; when one of them ended the turn."""
        while self._pending and self._pending[0][0] <= before_ms:
            at_ms, _, happen = heapq.heappop(self._pending)
            happen(at_ms)
            if self._judge.is_over(before_ms - WINDOW_MS):
                return at_ms
        return None

    def _later(self, at_ms: float, happen: Callable[[float], None]) -> None:
        self._number += 1
        heapq.heappush(self._pending, (at_ms, self._number, happen))

    def _sound(self, silence_ms: int) -> Callable[[float], None]:
        known = [probability for ms, probability in self._pause.sounds if ms <= silence_ms]

        def happen(_: float) -> None:
            if known:
                self._judge.probability = known[-1]

        return happen

    def _words(self, at_ms: float) -> None:
        if self._pause.sentence_end is not None and self._judge.doubts:
            self._later(at_ms + self._latencies.sentence_end_ms, self._sentence_end)

    def _sentence_end(self, _: float) -> None:
        self._judge.sentence_end = self._pause.sentence_end


def replay(pause: Pause, judge: TurnJudge, latencies: Latencies) -> Verdict:
    """`judge`: a new one, for this pause."""
    return Verdict(pause, _Replay(pause, judge, latencies).run())
