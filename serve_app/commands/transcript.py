"""What `antiphon call` and `antiphon talk` print while a call goes on: both sides' words, and each turn's waterfall."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from loadtest.exchange import Answer

if TYPE_CHECKING:  # LiveKit's library takes its time to load, and most calls do without it
    from loadtest.room_line import Joining


def print_event(event: Mapping[str, Any]) -> None:
    """One event of the server, if it is one that a person wants to see."""
    match event["type"]:
        case "conversation.item.input_audio_transcription.completed":
            _line("caller", event["transcript"].strip() or "(nothing understood)")
        case "response.output_audio_transcript.done":
            _line("agent", event["transcript"])
        case "response.output_text.done":
            _line("agent", event["text"])
        case "response.function_call_arguments.done":
            _line("agent", f"wants {event.get('name', 'a function')}({event['arguments']})")
        case "antiphon.timeline.v1":
            print(event["timeline"]["text"], flush=True)
        case "error":
            complain(event["error"].get("message", "an error without a message"))


def print_joining(room: str, joining: "Joining") -> None:
    """Which room a call is in, and how long it took from connecting until both sides heard each other."""
    moments = {
        "connected": joining.connected_ms,
        "agent": joining.agent_seen_ms,
        "its track": joining.track_subscribed_ms,
        "ready": joining.ready_ms,
    }
    times = ", ".join(f"{name} {ms:.0f} ms" for name, ms in moments.items() if ms is not None)
    _line("joined", f"{room}: {times}")


def print_answer(answer: Answer) -> None:
    """What only the caller's side knows of a turn: when its answer sounded, and whether it failed."""
    if answer.voice_to_voice_ms is not None:
        _line("heard", f"the answer's first sound {answer.voice_to_voice_ms:.0f} ms after the caller's last")
    if answer.status != "completed":
        complain(f"the answer is {answer.status}" + (f": {answer.reason}" if answer.reason else ""))


def complain(message: str) -> None:
    print(f"antiphon: {message}", file=sys.stderr, flush=True)


def _line(who: str, text: str) -> None:
    print(f"{who:<8} {text}", flush=True)
