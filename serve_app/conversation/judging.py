"""Is the caller's turn over? Silence, how it sounded and what was said, weighed by the call's turn detection. Pure."""

from dataclasses import dataclass
from math import exp, log

from serve_app.call_options import TurnTakingOptions
from serve_app.conversation.items import SemanticVad, ServerVad

SUREST = 0.02
"""A model that claims to be surer than this, of yes or of no, is not believed: it would outweigh the other."""


def log_odds(probability: float) -> float:
    """0 at one half, the same amount above and below for opposite opinions."""
    bounded = min(max(probability, SUREST), 1 - SUREST)
    return log(bounded / (1 - bounded))


def certainty(options: TurnTakingOptions, probability: float | None, sentence_end: float | None) -> float:
    """How surely the turn is over, 0 to 1: a logistic regression on what the two models say. Grows with each."""
    sound = log_odds(options.unknown_probability if probability is None else probability)
    words = log_odds(options.unknown_sentence if sentence_end is None else sentence_end)
    return 1 / (1 + exp(-(options.certainty_offset + options.sound_weight * sound + options.words_weight * words)))


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
        if isinstance(self.detection, ServerVad) or silence_ms < max(self._next_question_ms, self.options.ask_from_ms):
            return False
        self._next_question_ms = silence_ms + self.options.ask_every_ms
        return True

    @property
    def doubts(self) -> bool:
        """Would it help to know what the LLM thinks of the words?"""
        detection = self.detection
        return isinstance(detection, SemanticVad) and detection.create_response and self.options.ask_llm

    def is_over(self, silence_ms: int) -> bool:
        """The verdict after this much silence."""
        if isinstance(self.detection, ServerVad):
            return silence_ms >= self.detection.silence_duration_ms
        return silence_ms >= self._needed_ms(self.detection)

    def _needed_ms(self, detection: SemanticVad) -> float:
        """From the shortest silence, when it is certain that the turn is over, to the eagerness' longest when it is
        certain that it is not: in between by equal ratios, as people hear durations."""
        options = self.options
        longest_ms = {
            "low": options.low_silence_ms,
            "medium": options.medium_silence_ms,
            "auto": options.medium_silence_ms,
            "high": options.high_silence_ms,
        }[detection.eagerness]
        shortest_ms = min(options.min_silence_ms, longest_ms)
        doubt = 1 - certainty(options, self.probability, self.sentence_end)
        needed_ms = exp((1 - doubt) * log(max(shortest_ms, 1)) + doubt * log(max(longest_ms, 1)))
        waits_for_words = self.doubts and self.sentence_end is None
        return max(needed_ms, min(options.words_wait_ms, longest_ms)) if waits_for_words else needed_ms
