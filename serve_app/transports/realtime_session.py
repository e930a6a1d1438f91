"""The session object of the Realtime protocol: what a client reads, updates in part, and what it means for a call.

Fields follow https://platform.openai.com/docs/api-reference/realtime-client-events/session/update. An update is
applied whole or not at all. A field that is null gives back the server's default, or switches off what can be
switched off (turn detection, transcription).
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from openai.types.realtime import RealtimeSessionCreateRequest

from deployments.errors import BadRequest
from serve_app.conversation.items import CallSettings, Modality, SemanticVad, ServerVad, TurnDetection
from serve_app.transports.realtime_audio import WIRE_RATE_HZ, Format
from serve_app.transports.realtime_fields import (
    check_common,
    check_range,
    check_tool_choice,
    check_voice,
    read_max_tokens,
    read_tool_choice,
    read_tools,
    refuse_moved,
    tool_choice_wire,
    tool_wire,
    unsupported,
)
from serve_app.transports.realtime_parse import Wire, check

_MERGED = ("", "audio", "audio.input", "audio.output")  # objects that are updated field by field; others are replaced
_OFF_BY_NULL = ("audio.input.turn_detection", "audio.input.transcription")
_MUST_BE_NULL = ("prompt", "tracing", "reasoning", "audio.input.noise_reduction")
_RANGES = {
    # Where OpenAI documents no limit, ours keep a call usable: a minute of silence is not a pause any more.
    "threshold": (0.0, 1.0),
    "prefix_padding_ms": (0, 2_000),
    "silence_duration_ms": (0, 60_000),
    "idle_timeout_ms": (5_000, 30_000),
}


@dataclass(frozen=True)
class Session:
    """One state of the session. `wire` is the object with what was chosen; treat it as frozen.

    `voices` are the known ones, the default first. A voice that nobody chose is None in `wire`: the call's models may
    then take theirs.
    """

    wire: Wire
    defaults: Wire
    voices: tuple[str, ...]

    @classmethod
    def begin(cls, settings: CallSettings, *, session_id: str, model: str, voices: Sequence[str]) -> "Session":
        wire = _wire(settings, session_id, model)
        return cls(wire, wire, tuple(voices))

    def updated(self, update: object) -> "Session":
        """The session after a `session.update`. Raises `BadRequest` with the path of what cannot be honoured."""
        refuse_moved(update, "session")
        check(RealtimeSessionCreateRequest, update, "session")
        fields = cast(Wire, update)
        _check_honoured(fields, self)
        wire = _merged(self.wire, fields, self.defaults, "")
        check_tool_choice(wire["tool_choice"], wire["tools"], "session")
        return replace(self, wire=wire)

    def settings(self) -> CallSettings:
        listening, speaking = self.wire["audio"]["input"], self.wire["audio"]["output"]
        transcription = listening["transcription"] or {}
        hints = [transcription.get("prompt") or "", ", ".join(transcription.get("keywords") or ())]
        return CallSettings(
            instructions=self.wire["instructions"],
            voice=speaking["voice"],
            speed=float(speaking["speed"]),
            language=transcription.get("language"),
            hint=" ".join(filter(None, hints)),
            transcribe=listening["transcription"] is not None,
            turn_detection=_turn_detection(listening["turn_detection"]),
            tools=read_tools(self.wire["tools"]),
            tool_choice=read_tool_choice(self.wire["tool_choice"]),
            max_output_tokens=read_max_tokens(self.wire["max_output_tokens"]),
            output=self.wire["output_modalities"][0],
        )

    @property
    def shown(self) -> Wire:
        """The object as clients read it: with the voice in use, chosen or not."""
        audio = self.wire["audio"]
        output = audio["output"] | {"voice": audio["output"]["voice"] or self.default_voice}
        return self.wire | {"audio": audio | {"output": output}}

    @property
    def default_voice(self) -> str | None:
        return self.voices[0] if self.voices else None

    @property
    def input_format(self) -> Format:
        return cast(Format, self.wire["audio"]["input"]["format"]["type"])

    @property
    def output_format(self) -> Format:
        return cast(Format, self.wire["audio"]["output"]["format"]["type"])


def _check_honoured(update: Wire, session: Session) -> None:
    for path in _MUST_BE_NULL:
        if _at(update, path) is not None:
            raise unsupported(f"session.{path}", "this server has no such thing")
    if update.get("include"):
        raise unsupported("session.include", "transcripts here have no log probabilities")
    if (update.get("truncation") or "auto") != "auto":
        raise unsupported("session.truncation", "only 'auto' is known")
    if (update.get("model") or session.wire["model"]) != session.wire["model"]:
        raise BadRequest("The model of a session cannot change.", field="session.model", code="invalid_value")
    check_common(update, "session")
    if (voice := _at(update, "audio.output.voice")) is not None:
        check_voice(voice, session.voices, "session.audio.output.voice")
    if (speed := _at(update, "audio.output.speed")) is not None:
        check_range(speed, (0.25, 1.5), "session.audio.output.speed")
    for path in ("audio.input.format", "audio.output.format"):
        if (chosen := _at(update, path)) is not None and chosen.get("type") is None:
            field = f"session.{path}.type"
            raise BadRequest(f"Missing required parameter: '{field}'.", field=field, code="missing_required_parameter")
    _check_transcription(_at(update, "audio.input.transcription") or {})
    for name, value in (_at(update, "audio.input.turn_detection") or {}).items():
        if name in _RANGES and value is not None:
            check_range(value, _RANGES[name], f"session.audio.input.turn_detection.{name}")


def _check_transcription(transcription: Wire) -> None:
    path = "session.audio.input.transcription"
    for name in ("delay", "languages"):
        if transcription.get(name) is not None:
            raise unsupported(f"{path}.{name}", "transcription here has no such option")
    language = transcription.get("language")
    if language is not None and not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]{2,4})?", language):
        message = f"'{path}.language' must be an ISO 639-1 code such as 'en'."
        raise BadRequest(message, field=f"{path}.language", code="invalid_value")


def _at(fields: Mapping[str, Any], path: str) -> Any:
    value: Any = fields
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _merged(old: Wire, update: Wire, defaults: Wire, path: str) -> Wire:
    merged = dict(old)
    for name, value in update.items():
        inner = f"{path}.{name}" if path else name
        if value is None and inner not in _OFF_BY_NULL:
            merged[name] = copy.deepcopy(defaults.get(name))
        elif inner in _MERGED:
            merged[name] = _merged(old[name], value, defaults[name], inner)
        else:
            merged[name] = _completed(inner, value)
    return merged


def _completed(path: str, value: Any) -> Any:
    """What clients read back: every field that has an effect, with its value."""
    if path == "audio.input.turn_detection" and value is not None:
        return _turn_detection_wire(_turn_detection(value))
    if path.endswith(".format"):
        return _format_wire(value["type"])
    if path == "audio.output.voice" and isinstance(value, dict):
        return value["id"]
    return copy.deepcopy(value)


def _format_wire(wire_format: Format) -> Wire:
    return {"type": wire_format} | ({"rate": WIRE_RATE_HZ} if wire_format == "audio/pcm" else {})


def _turn_detection(wire: Wire | None) -> TurnDetection:
    if wire is None:
        return None
    given = {name: value for name, value in wire.items() if name != "type" and value is not None}
    return ServerVad(**given) if wire["type"] == "server_vad" else SemanticVad(**given)


def _turn_detection_wire(detection: TurnDetection) -> Wire | None:
    if detection is None:
        return None
    names = detection.__dataclass_fields__
    kind = "server_vad" if isinstance(detection, ServerVad) else "semantic_vad"
    return {"type": kind} | {name: getattr(detection, name) for name in names}


def _wire(settings: CallSettings, session_id: str, model: str) -> Wire:
    transcription = {"language": settings.language, "prompt": settings.hint or None}
    given = {name: value for name, value in transcription.items() if value is not None}
    modality: Modality = settings.output
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "output_modalities": [modality],
        "instructions": settings.instructions,
        "tools": [tool_wire(tool) for tool in settings.tools],
        "tool_choice": tool_choice_wire(settings.tool_choice),
        "max_output_tokens": settings.max_output_tokens or "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": _format_wire("audio/pcm"),
                "transcription": given if settings.transcribe else None,
                "noise_reduction": None,
                "turn_detection": _turn_detection_wire(settings.turn_detection),
            },
            "output": {"format": _format_wire("audio/pcm"), "voice": settings.voice, "speed": settings.speed},
        },
    }
