"""Is the caller's turn over? Silence, how it sounded and what was said, weighed by the call's turn detection. Pure."""

from dataclasses import dataclass
from math import inf

from serve_app.conversation.items import SemanticVad, ServerVad
from serve_app.options import TurnTakingOptions

PATIENCE = {"low": 2.0, "high": 0.5}
"""How much longer or shorter than usual an eagerness waits while it is unsure."""


@dataclass(slots=True)
class TurnJudge:
    """One pause of the caller. Asked after every window of silence."""

    detection: ServerVad | SemanticVad
    options: TurnTakingOptions
    probability: float | None = None
    """What the turn model said last about this pause; None while it has not answered, or is not asked."""
    sentence_end: float | None = None
    """The LLM's probability that the sentence is over; None while it has not answered, or is not asked."""
    _next_question_ms: int = 0

    def wants_opinion(self, silence_ms: int) -> bool:
        """Should the turn model be asked now? Says yes at the start of the pause and then every so often."""
        if isinstance(self.detection, ServerVad) or silence_ms < self._next_question_ms:
            return False
        self._next_question_ms = silence_ms + self.options.ask_every_ms
        return True

    @property
    def doubts(self) -> bool:
        """Would it help to know what the LLM thinks of the words?"""
        if isinstance(self.detection, ServerVad) or not self.options.ask_llm:
            return False
        return self.probability is None or self.probability < self.options.end_probability

    def is_over(self, silence_ms: int) -> bool:
        """The verdict after this much silence."""
        if isinstance(self.detection, ServerVad):
            return silence_ms >= self.detection.silence_duration_ms
        return silence_ms >= min(self._by_sound(self.detection), self._by_words(self.detection))

    def _by_words(self, detection: SemanticVad) -> float:
        """A whole sentence needs less silence than it sounds like."""
        if self.sentence_end is None or self.sentence_end < self.options.whole_sentence:
            return inf
        sounds_over = self.probability is not None and self.probability >= self.options.unsure_probability
        silence_ms = self.options.whole_silence_ms if sounds_over else self.options.unsure_silence_ms
        return silence_ms * PATIENCE.get(detection.eagerness, 1.0)

    def _by_sound(self, detection: SemanticVad) -> float:
        options, eagerness = self.options, detection.eagerness
        latest = {
            "low": options.low_silence_ms,
            "medium": options.medium_silence_ms,
            "auto": options.medium_silence_ms,
            "high": options.high_silence_ms,
        }[eagerness]
        patience = PATIENCE.get(eagerness, 1.0)
        if self.probability is None:
            return min(options.doubtful_silence_ms * patience, latest)
        if self.probability >= options.end_probability:
            return min(options.min_silence_ms, latest)
        if self.probability >= options.unsure_probability:
            return min(options.unsure_silence_ms * patience, latest)
        if self.probability >= options.doubtful_probability:
            return min(options.doubtful_silence_ms * patience, latest)
        return latest
