"""Whisper by CTranslate2 and faster-whisper, on features cut to the speech instead of filled up to 30 s.

Most of Whisper's time on a sentence goes into 25 s of silence. It is cut to `padding_ms` here, which makes the model
prone to repeating itself, so the decoding is guarded (repetition penalty, n-gram block), the result is checked, and
a suspicious one is redone: with more padding and without the hint, and at last as Whisper was trained, on 30 s and
without the guard. Words that Whisper dreams up in silence and noise are recognised by its own two probabilities
(Radford et al. 2022, section 4.5).
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
from faster_whisper import WhisperModel

from deployments.asr.options import AsrOptions
from deployments.asr.utterance import before_repeating, is_silent, repeats_itself, split
from deployments.asr.whisper_decoder import FULL_MS, Decoded, Floats, WhisperDecoder
from deployments.audio import duration_ms, to_float
from deployments.contracts import SPEECH_RATE_HZ, Capabilities, ModelFiles, Pcm, Transcript
from deployments.errors import BadModel, BadRequest
from deployments.guard import only_file

T = TypeVar("T")

_GUESSED = -1.5  # mean log probability of a token below which the words are guesses, speech or not


class FasterWhisper:
    """One Whisper model and the threads that run it.

    A cancelled request returns at once; the C++ call that it was in (less than 100 ms) ends by itself, and nothing
    follows. There are as many threads as the deployment lets requests in, so that none waits here.
    """

    def __init__(self, decoder: WhisperDecoder, options: AsrOptions) -> None:
        self._decoder = decoder
        self._options = options
        self._pool = ThreadPoolExecutor(options.workers, thread_name_prefix="asr")
        self._window_samples = (FULL_MS - options.padding_ms) * SPEECH_RATE_HZ // 1000

    @classmethod
    def load(cls, files: ModelFiles | None, options: AsrOptions) -> "FasterWhisper":
        """`files`: a Whisper model converted to CTranslate2, with its tokenizer.json. Raises BadModel."""
        folder = only_file(files, "model.bin").parent
        only_file(files, "tokenizer.json")  # without it the library would look for one on the network
        device = "cuda" if options.gpus > 0 else "cpu"
        try:
            model = WhisperModel(
                str(folder),
                device=device,
                compute_type=options.compute_type,
                cpu_threads=options.threads,
                num_workers=options.workers,
            )
        except Exception as broken:  # CTranslate2 and tokenizers raise plain RuntimeError, ValueError, Exception
            raise BadModel(f"{options.model} cannot be loaded on {device}: {broken}") from broken
        engine = cls(WhisperDecoder(model, options), options)
        engine._warm_up()
        return engine

    def capabilities(self) -> Capabilities:
        return Capabilities(languages=self._decoder.languages, rate_hz=SPEECH_RATE_HZ)

    async def unload(self) -> None:
        await asyncio.to_thread(self._pool.shutdown)
        self._decoder.unload()

    async def transcribe(
        self, audio: Pcm, *, language: str | None = None, hint: str = "", hasty: bool = False
    ) -> Transcript:
        """`words` is empty unless `word_times`. Raises BadRequest for a language that the model does not know."""
        chosen = self._known(language or self._options.language)
        if is_silent(audio, self._options.silence_dbfs):
            return self._transcript(audio, [], chosen)
        return await self._in_thread(lambda abandoned: self._transcribe(audio, chosen, hint, hasty, abandoned))

    async def _in_thread(self, work: Callable[[threading.Event], T]) -> T:
        abandoned = threading.Event()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, abandoned)
        finally:
            abandoned.set()

    def _known(self, language: str | None) -> str | None:
        """ "en-US" -> "en"."""
        if language is None:
            return None
        code = language.lower().replace("_", "-").partition("-")[0]
        if code not in self._decoder.languages:
            known = ", ".join(self._decoder.languages)
            raise BadRequest(f"{self._options.model} knows no language {language!r}, only: {known}", field="language")
        return code

    def _transcribe(
        self, audio: Pcm, language: str | None, hint: str, hasty: bool, abandoned: threading.Event
    ) -> Transcript:
        """All windows of the audio, one after the other; blocks."""
        found: list[Decoded] = []
        first_ms = 0
        for window in split(audio, self._window_samples):
            if abandoned.is_set():
                break
            samples = to_float(window)
            language = language or self._decoder.detect_language(samples)
            found.append(_moved(self._believed(self._decode(samples, language, hint, hasty, abandoned)), first_ms))
            first_ms += duration_ms(window, SPEECH_RATE_HZ)
        return self._transcript(audio, found, language)

    def _decode(self, samples: Floats, language: str, hint: str, hasty: bool, abandoned: threading.Event) -> Decoded:
        """The shortest padding that makes no suspicious text of it; each one costs more than the one before."""
        decoded = self._decoder.quick(samples, language, hint, self._options.padding_ms)
        if _is_suspicious(decoded) and not abandoned.is_set():
            decoded = self._decoder.quick(samples, language, "", self._options.second_padding_ms)
        if not _is_suspicious(decoded):
            return decoded
        if hasty or abandoned.is_set():
            return replace(decoded, text=before_repeating(decoded.text), words=(), doubtful=True)
        return self._decoder.thorough(samples, language)

    def _believed(self, decoded: Decoded) -> Decoded:
        """`decoded`, without its words where nobody spoke."""
        silence = decoded.no_speech_probability > self._options.no_speech_threshold
        least = self._options.min_log_probability if silence else _GUESSED
        speaks = decoded.log_probability >= least and any(map(str.isalnum, decoded.text))
        return decoded if speaks else replace(decoded, text="", words=())

    def _transcript(self, audio: Pcm, found: list[Decoded], language: str | None) -> Transcript:
        return Transcript(
            text=" ".join(part.text for part in found if part.text),
            words=tuple(word for part in found for word in part.words),
            no_speech_probability=min((part.no_speech_probability for part in found), default=1.0),
            audio_ms=duration_ms(audio, SPEECH_RATE_HZ),
            language=language or self._decoder.languages[0],
            doubtful=any(part.doubtful for part in found),
        )

    def _warm_up(self) -> None:
        """Each worker once, at the same time: the first run of each allocates its memory."""
        noise = np.random.default_rng(0).normal(0, 0.01, SPEECH_RATE_HZ).astype(np.float32)
        language = self._known(self._options.language) or self._decoder.languages[0]
        decode = partial(self._decoder.quick, noise, language, "", self._options.padding_ms)
        runs = [self._pool.submit(decode) for _ in range(self._options.workers)]
        for run in runs:
            run.result()


def _is_suspicious(decoded: Decoded) -> bool:
    return decoded.ran_away or repeats_itself(decoded.text)


def _moved(decoded: Decoded, by_ms: int) -> Decoded:
    """With the words' times counted from `by_ms` earlier."""
    words = tuple(replace(word, start_ms=word.start_ms + by_ms, end_ms=word.end_ms + by_ms) for word in decoded.words)
    return replace(decoded, words=words)
