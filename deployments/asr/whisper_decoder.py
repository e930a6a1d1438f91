"""One window of audio through Whisper: features, encoder, decoder, and the words' times. Everything here blocks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from numpy.typing import NDArray

from deployments.asr.options import AsrOptions
from deployments.contracts import SPEECH_RATE_HZ, Word

FULL_MS = 30_000
"""What Whisper was trained on: speech, and silence up to 30 s."""

_LONGEST_FRAMES = 3000  # mel frames of 10 ms that the encoder has positions for
_HINT_TOKENS = 96  # the end of a hint; each token costs time, and Whisper itself takes no more than 223
_TOKENS_PER_S, _TOKENS_MORE = 12, 24  # nobody speaks faster; it ends a decoding that runs away

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the model made of one window of audio. `log_probability` is the mean of the tokens."""

    text: str
    words: tuple[Word, ...]
    no_speech_probability: float
    log_probability: float
    ran_away: bool
    doubtful: bool = False


class WhisperDecoder:
    """A Whisper model, called window by window; safe in as many threads as it has workers."""

    def __init__(self, model: WhisperModel, options: AsrOptions) -> None:
        self._model = model
        self._options = options
        self.is_multilingual: bool = model.model.is_multilingual
        self.languages: tuple[str, ...] = tuple(model.supported_languages)

    def unload(self) -> None:
        self._model.model.unload_model()

    def quick(self, samples: Floats, language: str, hint: str, padding_ms: int) -> Decoded:
        """float32[n] -> what is said in it, with so much silence after it and the guards against repetition."""
        guards = {
            "repetition_penalty": self._options.repetition_penalty,
            "no_repeat_ngram_size": self._options.no_repeat_ngram,
        }
        return self._decode(samples, language, hint, padding_ms, guards)

    def thorough(self, samples: Floats, language: str) -> Decoded:
        """The same as Whisper was trained: 30 s, nothing said before, and repetitions allowed."""
        return self._decode(samples, language, "", FULL_MS, {})

    def detect_language(self, samples: Floats) -> str:
        """ISO 639-1 code of what is spoken; "en" where the model knows nothing else."""
        if not self.is_multilingual:
            return "en"
        encoded = self._model.encode(self._features(samples, self._options.padding_ms))
        [[(token, _), *_]] = self._model.model.detect_language(encoded)
        return str(token).strip("<|>")

    def _decode(
        self, samples: Floats, language: str, hint: str, padding_ms: int, guards: dict[str, float | int]
    ) -> Decoded:
        tokenizer = Tokenizer(self._model.hf_tokenizer, self.is_multilingual, "transcribe", language)
        encoded = self._model.encode(self._features(samples, padding_ms))
        before = tokenizer.encode(" " + hint.strip())[-_HINT_TOKENS:] if hint.strip() else []
        prompt = self._model.get_prompt(tokenizer, before, without_timestamps=True)
        room = round(len(samples) / SPEECH_RATE_HZ * _TOKENS_PER_S) + _TOKENS_MORE
        [result] = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=self._options.beam_size,
            max_length=min(len(prompt) + room, self._model.max_length),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=get_suppressed_tokens(tokenizer, [-1]),
            **guards,
        )
        tokens = result.sequences_ids[0]
        return Decoded(
            text=tokenizer.decode(tokens).strip(),
            words=self._words(tokenizer, tokens, encoded, len(samples)) if self._options.word_times else (),
            no_speech_probability=result.no_speech_prob,
            log_probability=result.scores[0] * len(tokens) / (len(tokens) + 1),  # the end counts as a token
            ran_away=len(tokens) >= room,
        )

    def _features(self, samples: Floats, padding_ms: int) -> Floats:
        """float32[n] -> log-mel float32[80 or 128, frames of 10 ms], with silence after the speech."""
        mel = self._model.feature_extractor(samples, padding=padding_ms * SPEECH_RATE_HZ // 1000)
        fitting: Floats = mel[:, :_LONGEST_FRAMES]
        return fitting

    def _words(self, tokenizer: Tokenizer, tokens: list[int], encoded: Any, samples: int) -> tuple[Word, ...]:
        """When each word was said, from the decoder's attention (dynamic time warping, by CTranslate2)."""
        text = [token for token in tokens if token < tokenizer.eot]
        frames = min(samples // self._model.feature_extractor.hop_length, _LONGEST_FRAMES)
        return join_pieces(self._model.find_alignment(tokenizer, [text], encoded, frames)[0]) if text else ()


def join_pieces(pieces: list[dict[str, Any]]) -> tuple[Word, ...]:
    """faster-whisper's pieces (word, start and end in seconds, probability) -> words.

    What does not begin with a space belongs to the word before it; punctuation takes no time of its own.
    """
    words: list[Word] = []
    for piece in pieces:
        text, end_ms = piece["word"], round(piece["end"] * 1000)
        if words and not text.startswith(" "):
            last = words.pop()
            end_ms = end_ms if any(map(str.isalnum, text)) else last.end_ms
            words.append(Word(last.text + text, last.start_ms, end_ms, last.probability))
        elif text.strip():
            words.append(Word(text.strip(), round(piece["start"] * 1000), end_ms, float(piece["probability"])))
    return tuple(words)
