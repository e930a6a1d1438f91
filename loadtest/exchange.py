"""One turn from the caller's side: what the server's events add up to. Pure; time is given, never read.

All times are samples of the call's clock (`recording`).
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from loadtest.recording import RATE_HZ
from loadtest.voiced import Pcm
from loadtest.wire import Event

LATE_ANSWER = 5 * RATE_HZ
"""An answer begun before the caller's last word counts only when nothing newer has come for this long after it."""

TIMELINE_WAIT = 2 * RATE_HZ
"""The timeline follows the end of the answer; it is not waited for longer than this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a turn. Times in ms; `asked_ms` is the caller's last voiced sample on the call's clock.

    `first_arrival_ms` is when the answer's first audio reached the caller, `first_voiced_ms` when its first voiced
    sample sounded. Both None for an answer without sound. `audio` is int16[n] at 24 kHz, everything that was sent.
    """

    heard: str
    text: str
    audio: Pcm
    status: str
    reason: str | None
    timeline: Mapping[str, Any] | None
    tool_calls: tuple[Mapping[str, Any], ...]
    problems: tuple[str, ...]
    asked_ms: float
    first_arrival_ms: float | None
    first_voiced_ms: float | None

    @property
    def voice_to_voice_ms(self) -> float | None:
        """Last voiced sample of the caller to first voiced sample of the answer, both from the recording."""
        return None if self.first_voiced_ms is None else self.first_voiced_ms - self.asked_ms


@dataclass(slots=True)
class Response:
    """One response of the protocol; a turn can have several, when the server answered into a pause."""

    id: str
    created_at: int
    done_at: int | None = None
    status: str = "in_progress"
    reason: str | None = None
    text: dict[tuple[str, int], str] = field(default_factory=dict)
    audio: list[Pcm] = field(default_factory=list)
    first_arrival: int | None = None
    first_played: int | None = None
    tool_calls: list[Mapping[str, Any]] = field(default_factory=list)


class Exchange:
    """Events in, state out. `begin` starts a turn; `settled` says when there is nothing more to wait for."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, now: int) -> None:
        self.started_at = self.asked_at = now
        self.asking = False  # the caller still has something to say
        self.speaking = False  # the server hears a voice
        self.responses: dict[str, Response] = {}
        self.heard: dict[str, str] = {}
        self.problems: list[str] = []
        self.timeline: Mapping[str, Any] | None = None

    @property
    def last(self) -> Response | None:
        return next(reversed(self.responses.values()), None)

    def receive(self, event: Event, now: int) -> None:
        kind = event["type"]
        if kind.startswith("response."):
            self._response(event, now)
        elif kind.startswith("antiphon.timeline") and self.responses:  # before, it tells of the interrupted turn
            self.timeline = event.get("timeline", event)
        elif kind == "input_audio_buffer.speech_started":
            self.speaking = True
        elif kind in ("input_audio_buffer.speech_stopped", "input_audio_buffer.committed"):
            self.speaking = False
        elif kind == "conversation.item.input_audio_transcription.completed":
            self.heard[event["item_id"]] = event["transcript"]
        elif kind == "conversation.item.input_audio_transcription.failed":
            self.problems.append(f"transcription failed: {event.get('error', {}).get('message')}")
        elif kind == "error":
            self.problems.append(str(event["error"].get("message")))

    def settled(self, now: int, sounds_until: int, want_timeline: bool) -> bool:
        """The caller has spoken, the last answer is complete and has sounded to its end (at `sounds_until`)."""
        last = self.last
        if self.asking or self.speaking or now < sounds_until or last is None or last.done_at is None:
            return False
        if self._premature(last) and now < self.asked_at + LATE_ANSWER:
            return False
        ended_at = max(self.asked_at, last.done_at, sounds_until)
        return not want_timeline or self.timeline is not None or now >= ended_at + TIMELINE_WAIT

    def sounds(self, response_id: str, first_sample: int) -> None:
        """Audio of a response sounds from here on."""
        response = self.responses.get(response_id)
        if response is not None and response.first_played is None:
            response.first_played = first_sample

    def _premature(self, response: Response) -> bool:
        interrupted = response.status == "cancelled" and response.reason == "turn_detected"
        return interrupted or response.created_at < self.asked_at

    def _response(self, event: Event, now: int) -> None:
        body = event.get("response", {})
        response_id = event.get("response_id") or body.get("id")
        if event["type"] == "response.created":
            self.responses[response_id] = Response(response_id, now)
        response = self.responses.get(response_id)
        if response is None:
            return  # it belongs to the turn before
        match event["type"]:
            case "response.output_audio.delta":
                response.audio.append(pcm_of(event))
                response.first_arrival = now if response.first_arrival is None else response.first_arrival
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                part = (event["item_id"], event["content_index"])
                response.text[part] = response.text.get(part, "") + event["delta"]
            case "response.function_call_arguments.done":
                response.tool_calls.append(event)
            case "response.done":
                response.status, response.done_at = body["status"], now
                response.reason = _reason(body.get("status_details") or {})


def pcm_of(event: Event) -> Pcm:
    """The sound in an audio delta: int16[n] at 24 kHz."""
    return np.frombuffer(base64.b64decode(event["delta"]), "<i2").astype(np.int16)


def _reason(details: Mapping[str, Any]) -> str | None:
    error = details.get("error") or {}
    reason: str | None = error.get("message") or error.get("code") or details.get("reason")
    return reason
