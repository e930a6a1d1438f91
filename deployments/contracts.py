"""The whole interface between calls and models, on one page.

A kind of model (ASR, LLM, TTS, turn detection, voice activity) is a Protocol; its messages are frozen dataclasses.
Engines implement the Protocols, deployments put an engine behind a Ray Serve handle with the same methods, and a
call sees only the Protocols: it cannot tell an engine in its own process from a replica on another host.

Audio is 16-bit mono PCM, `int16[n]`. Cancelling (`CancelledError`, or closing a generator) frees the device within
50 ms. Everything raises only the errors of `deployments.errors`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Pcm = NDArray[np.int16]
"""int16[n], mono. The rate stands beside it, or is the one that the parameter's documentation names."""

SPEECH_RATE_HZ = 16_000
"""The rate of everything on its way to ASR, turn detection and voice activity detection."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on this machine's disk, verified. `paths` has one entry for each file named in the catalogue."""

    id: str
    paths: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a loaded model can do. Rates in Hz; empty tuples mean "none in particular"."""

    languages: tuple[str, ...] = ()
    voices: tuple[str, ...] = ()
    rate_hz: int | None = None
    streaming: bool = False
    tools: bool = False
    cloning: bool = False
    """Speaks like a recording that comes with the request."""
    lora: bool = False
    """Takes adapters on top of its weights."""


# --- speech to text


@dataclass(frozen=True, slots=True)
class Word:
    """One word, with its place in the audio that was given."""

    text: str
    start_ms: int
    end_ms: int
    probability: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said in `audio_ms` of audio. Empty `text` means that no speech was found."""

    text: str
    words: tuple[Word, ...]
    no_speech_probability: float
    audio_ms: int
    language: str
    doubtful: bool = False
    """Heard in haste, and worth a second look."""


class Asr(Protocol):
    """Speech to text, the whole utterance each time: any replica can serve any request."""

    async def transcribe(
        self, audio: Pcm, *, language: str | None = None, hint: str = "", hasty: bool = False
    ) -> Transcript:
        """`audio`: int16[n] at 16 kHz. `hint`: text that came before, to help with names. `hasty`: of somebody who
        goes on speaking; what would take a second look is left out."""
        ...


# --- language models


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete call of a function tool. `arguments` is JSON text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation, as an LLM sees it. `call_id` is set when `role` is "tool"."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens: of the prompt, of it found in the cache, and generated."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The last item of every complete stream. "length" means that `max_tokens` cut the answer."""

    reason: Literal["stop", "length", "tool_calls"]
    usage: Usage


LlmItem = TextDelta | ToolCall | Finished


class Llm(Protocol):
    """A chat model that keeps each session's prompt prefix where it can."""

    def generate(
        self,
        messages: Sequence[Message],
        *,
        session_id: str,
        max_tokens: int,
        temperature: float,
        tools: Sequence[Tool] = (),
        tool_choice: str = "auto",
    ) -> AsyncGenerator[LlmItem, None]:
        """Yield text as it comes, then any tool calls, then `Finished`.

        Where the last message is the assistant's, it goes on after its text, as if it had just written that.

        `tool_choice`: "auto", "none", "required", or the name of the one function to call. `max_tokens` 0 only
        prepares the prompt (it yields `Finished` alone).
        """
        ...

    async def sentence_end(
        self, messages: Sequence[Message], *, session_id: str, tools: Sequence[Tool] = ()
    ) -> float | None:
        """How likely the last message, the caller's, ends where it does: 0 to 1; None where the model cannot tell.

        Its final punctuation, which is the ASR's guess, is passed over. Prepares the prompt of the answer meanwhile.
        """
        ...


# --- text to speech


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Some more speech: int16[n] at the model's own rate. `last`: the model knows that nothing follows it."""

    pcm: Pcm
    rate_hz: int
    last: bool = False


class Tts(Protocol):
    """Text to speech, one phrase at a time; the first chunk as soon as there is one."""

    def speak(self, text: str, *, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[AudioChunk, None]:
        """`text` is speakable already: words and punctuation. `voice` None is the default one."""
        ...


# --- turns


class TurnDetector(Protocol):
    """Is the caller's turn over, judged by how it sounds?"""

    async def end_of_turn(self, audio: Pcm) -> float:
        """`audio`: int16[n] at 16 kHz, the last 8 s of the turn or less. Returns a probability, 0 to 1."""
        ...


class VoiceActivity(Protocol):
    """Is there a voice in each window? One object serves the calls of a process; state is per call."""

    window_samples: int  # 512 at 16 kHz: 32 ms

    def new_state(self) -> object:
        """The state of a call that has heard nothing yet."""
        ...

    def probabilities(self, windows: NDArray[np.float32], states: Sequence[object]) -> NDArray[np.float32]:
        """One window of each of n calls at once: float32[n, window_samples] in [-1, 1] -> float32[n].

        Updates `states` in place; the i-th belongs to the i-th window.
        """
        ...


class Engine(Protocol):
    """What every engine has besides the methods of its kind. A loaded engine is the resident object."""

    def capabilities(self) -> Capabilities: ...

    async def unload(self) -> None:
        """Give the memory back. Nothing may be called afterwards."""
        ...
