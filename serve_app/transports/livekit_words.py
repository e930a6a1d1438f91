"""What a call tells a room: state, words and timelines, in the forms that LiveKit's own clients read.

Attribute `lk.agent.state`; text streams on `lk.transcription`; data messages on topics of our own, which
`serve_app/wire.yaml` describes.
"""

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

from livekit import rtc

from serve_app.conversation import messages as m
from serve_app.conversation.items import MessageItem
from serve_app.transports.livekit_ffi import set_attributes

log = logging.getLogger("antiphon.rooms")

TRANSCRIPTION = "lk.transcription"
SEGMENT, TRACK, FINAL = "lk.segment_id", "lk.transcribed_track_id", "lk.transcription_final"
STABLE = "antiphon.stable_characters"
STATE = "lk.agent.state"
CALL, AGENT, ERROR = "antiphon.call_id", "antiphon.agent", "antiphon.error"
TIMELINE_TOPIC, STATE_TOPIC, ERROR_TOPIC = "antiphon.timeline", "antiphon.state", "antiphon.error"
ENDED_TOPIC = "antiphon.ended"

SHOWN_STATES: Mapping[str, str] = {
    "idle": "listening",
    "hearing": "listening",
    "ending": "listening",
    "thinking": "thinking",
    "speaking": "speaking",
    "held": "speaking",
}
"""The call's states in LiveKit's words, which has none for the end of a call: the agent leaves."""


ACKNOWLEDGE_S = 1.0
"""The server confirms an attribute in milliseconds. Once in a while the library misses that and waits for 5 s; then it
is set again."""


def error_body(code: str, message: str, field: str | None) -> str:
    """What clients read about something that was refused."""
    return json.dumps({"code": code, "message": message, "field": field})


class Teller:
    """Turns a call's events into what the room is told, one after the other."""

    def __init__(self, local: rtc.LocalParticipant, agent_track: str) -> None:
        self._local = local
        self.agent_track = agent_track
        self._wanted: dict[str, str] = {}
        self._unset = asyncio.Event()
        self._answers: dict[str, rtc.TextStreamWriter] = {}
        self.caller = ""
        """The caller's identity: whose words those of the caller's side are."""
        self.caller_track = ""

    async def tell(self, event: m.Event) -> None:
        """Raises what `livekit.rtc` raises when the room is gone."""
        match event:
            case m.StateChanged(state):
                await self.data(STATE_TOPIC, {"state": state})
                if state in SHOWN_STATES:
                    self.show(SHOWN_STATES[state])
            case m.TurnTimed(timeline):
                await self.data(TIMELINE_TOPIC, timeline)
            case m.CallEnded(reason):
                await self.data(ENDED_TOPIC, {"reason": reason})
            case m.Problem():
                await self.data(ERROR_TOPIC, {"code": event.code, "message": event.message, "field": event.field})
            case m.TranscribedSoFar(item_id, text, stable):
                await self._say(item_id, text, final=False, caller=True, stable=stable)
            case m.Transcribed(item_id, text, _):
                await self._say(item_id, text, final=True, caller=True)
            case m.AnswerText(_, item, text):
                await self._go_on(item, text)
            case m.ItemDone() if event.answer is not None and isinstance(event.item, MessageItem):
                await self._finish(event.item)
            case _:
                pass  # the others tell of things that rooms have no word for

    def show(self, state: str) -> None:
        """The agent's state, as LiveKit's clients show it."""
        self.set_attribute(STATE, state)

    def set_attribute(self, name: str, value: str) -> None:
        """Of the agent; words and data do not wait until the server has confirmed it."""
        if self._wanted.get(name) != value:
            self._wanted[name] = value
            self._unset.set()

    def set_again(self) -> None:
        """All of them: the connection had broken, and a server that has restarted knows only what the token says."""
        self._unset.set()

    async def keep_attributes(self) -> None:
        """For ever: set the latest values."""
        while True:
            await self._unset.wait()
            self._unset.clear()
            wanted = dict(self._wanted)
            try:
                async with asyncio.timeout(ACKNOWLEDGE_S):
                    await set_attributes(self._local, wanted)
            except TimeoutError:
                self._unset.set()
            except (RuntimeError, ConnectionError) as lost:  # a caller may be waiting for nothing but this
                log.warning("the room was not told %s, and will be told again: %s", wanted, lost)
                self._unset.set()
                await asyncio.sleep(ACKNOWLEDGE_S)

    async def data(self, topic: str, body: Mapping[str, Any]) -> None:
        await self._local.publish_data(json.dumps(body), reliable=True, topic=topic)

    async def _say(self, segment: str, text: str, *, final: bool, caller: bool, stable: int | None = None) -> None:
        """The whole text of a segment so far: it replaces what was told of it before."""
        attributes = self._attributes(segment, self.caller_track if caller else self.agent_track, final=final)
        writer = await self._local.stream_text(
            topic=TRANSCRIPTION,
            attributes=attributes if stable is None else {**attributes, STABLE: str(stable)},
            sender_identity=self.caller if caller else None,
        )
        await writer.write(text)
        await writer.aclose()

    async def _go_on(self, item: MessageItem, text: str) -> None:
        """Some more of an answer, as it begins to sound."""
        writer = self._answers.get(item.id)
        if writer is None:
            attributes = self._attributes(item.id, self.agent_track, final=False)
            self._answers[item.id] = writer = await self._local.stream_text(topic=TRANSCRIPTION, attributes=attributes)
        await writer.write(text)

    async def _finish(self, item: MessageItem) -> None:
        """The answer as it was heard: cut, where it was interrupted."""
        writer = self._answers.pop(item.id, None)
        if writer is not None:
            await writer.aclose()
            await self._say(item.id, item.text, final=True, caller=False)

    @staticmethod
    def _attributes(segment: str, track: str, *, final: bool) -> dict[str, str]:
        return {SEGMENT: segment, TRACK: track, FINAL: "true" if final else "false"}
