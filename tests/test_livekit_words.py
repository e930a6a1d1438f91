import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from livekit import api, rtc

from loadtest.room_ticket import Keys, fresh
from serve_app.conversation import messages as m
from serve_app.conversation.items import Answer, AnswerOptions, MessageItem
from serve_app.conversation.turns import State
from serve_app.transports.livekit_words import FINAL, SEGMENT, SHOWN_STATES, STABLE, TRACK, TRANSCRIPTION, Teller
from tests.agents_kit import caller, ended, sounding, until

pytestmark = pytest.mark.timeout(60)

ANSWER = Answer(AnswerOptions(), "audio", None, None)


@dataclass
class Told:
    """What somebody in the room read."""

    streams: list[tuple[str, str | None, dict[str, str]]] = field(default_factory=list)
    """Sender, text, attributes of each stream as they began; no text before one was read to its end. Streams are read
    side by side, and a short one can end before one that began earlier."""
    pieces: list[str] = field(default_factory=list)
    data: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def texts(self) -> list[tuple[str, str, dict[str, str]]]:
        """Those that were read to their end."""
        return [(by, text, about) for by, text, about in self.streams if text is not None]

    def finals(self) -> list[tuple[str, str, str]]:
        return [(by, about[SEGMENT], text) for by, text, about in self.texts if about[FINAL] == "true"]


@asynccontextmanager
async def telling(keys: Keys) -> AsyncIterator[tuple[Teller, Told, rtc.Room, rtc.Room]]:
    """A teller with an agent's rights, and the caller who reads."""
    room, told = fresh("room"), Told()
    ticket, agent = keys.agent_ticket(room), rtc.Room()
    readings: set[asyncio.Task[None]] = set()

    async def read(reader: rtc.TextStreamReader, place: int) -> None:
        text = ""
        async for piece in reader:
            text += piece
            told.pieces.append(piece)
        sender, _, attributes = told.streams[place]
        told.streams[place] = (sender, text, attributes)

    def opened(reader: rtc.TextStreamReader, sender: str) -> None:
        told.streams.append((sender, None, dict(reader.info.attributes or {})))
        readings.add(asyncio.create_task(read(reader, len(told.streams) - 1)))

    async with caller(keys, room) as reads:
        reads.register_text_stream_handler(TRANSCRIPTION, opened)
        reads.on("data_received", lambda packet: told.data.append((packet.topic or "", json.loads(packet.data))))
        await agent.connect(ticket.url, ticket.token, rtc.RoomOptions(single_peer_connection=False))
        teller = Teller(agent.local_participant, "TR_agent")
        teller.caller, teller.caller_track = reads.local_participant.identity, "TR_caller"
        keeping = asyncio.create_task(teller.keep_attributes())
        async with sounding(agent):
            await until(lambda: agent.local_participant.identity in reads.remote_participants, "the agent")
            yield teller, told, agent, reads
            await ended(keeping)
        await asyncio.gather(*readings)


async def test_the_caller_s_words_come_again_until_they_are_final(livekit_keys: Keys) -> None:
    async with telling(livekit_keys) as (teller, told, _, reads):
        me = reads.local_participant.identity
        await teller.tell(m.TranscribedSoFar("item_1", "what is"))
        await teller.tell(m.TranscribedSoFar("item_1", "what is the", 7))
        await teller.tell(m.Transcribed("item_1", "What is the time?", 1.0))
        await until(lambda: len(told.texts) == 3, "three texts")
        assert [(by, text, about[FINAL]) for by, text, about in told.texts] == [
            (me, "what is", "false"),
            (me, "what is the", "false"),
            (me, "What is the time?", "true"),
        ]
        assert [about.get(STABLE) for _, _, about in told.texts] == ["0", "7", None]
        assert {(about[SEGMENT], about[TRACK]) for _, _, about in told.texts} == {("item_1", "TR_caller")}


async def test_an_answer_is_told_as_it_sounds_and_then_as_it_was_heard(livekit_keys: Keys) -> None:
    async with telling(livekit_keys) as (teller, told, agent, _):
        me, item = agent.local_participant.identity, MessageItem("assistant", "One two three.", "audio")
        await teller.tell(m.AnswerText(ANSWER, item, "One two "))
        await until(lambda: told.pieces == ["One two "], "the first words, before the others are there")
        await teller.tell(m.AnswerText(ANSWER, item, "three."))
        item.text = "One"  # the caller interrupted
        await teller.tell(m.ItemDone(item, None, ANSWER))
        await until(lambda: len(told.texts) == 2, "both texts")
        assert [(by, text, about[FINAL]) for by, text, about in told.texts] == [
            (me, "One two three.", "false"),
            (me, "One", "true"),
        ]
        assert {(about[SEGMENT], about[TRACK]) for _, _, about in told.texts} == {(item.id, "TR_agent")}


async def test_what_the_caller_typed_and_what_nobody_heard_is_not_told(livekit_keys: Keys) -> None:
    async with telling(livekit_keys) as (teller, told, _, reads):
        await teller.tell(m.ItemDone(MessageItem("user", "typed"), None))
        await teller.tell(m.ItemDone(MessageItem("assistant", "dropped unheard", "audio"), None, ANSWER))
        await teller.tell(m.AudioCleared())
        await teller.tell(m.Transcribed("item_2", "after it", 1.0))
        await until(lambda: bool(told.texts), "a text")
        assert told.finals() == [(reads.local_participant.identity, "item_2", "after it")]


async def test_states_timelines_and_problems_are_data(livekit_keys: Keys) -> None:
    async with telling(livekit_keys) as (teller, told, agent, reads):
        await teller.tell(m.StateChanged("thinking"))
        await teller.tell(m.TurnTimed({"turn": 1}))
        await teller.tell(m.Problem("no such voice", "invalid_value", "antiphon.voice", ref="ours", ours=True))
        await until(lambda: len(told.data) == 3, "three messages")
        assert told.data == [
            ("antiphon.state", {"state": "thinking"}),
            ("antiphon.timeline", {"turn": 1}),
            ("antiphon.error", {"code": "invalid_value", "message": "no such voice", "field": "antiphon.voice"}),
        ]
        seen = reads.remote_participants[agent.local_participant.identity]
        await until(lambda: seen.attributes.get("lk.agent.state") == "thinking", "the state")


async def test_attributes_end_with_the_latest_value(livekit_keys: Keys) -> None:
    async with telling(livekit_keys) as (teller, _, agent, reads):
        for state in ("thinking", "speaking", "idle", "thinking", "speaking"):
            teller.show(SHOWN_STATES[state])
        teller.set_attribute("antiphon.error", "{}")
        seen = reads.remote_participants[agent.local_participant.identity]
        await until(
            lambda: {"lk.agent.state": "speaking", "antiphon.error": "{}"}.items() <= dict(seen.attributes).items(),
            "the latest",
        )


async def test_an_attribute_that_could_not_be_set_is_set_later(
    livekit_keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody may be waiting for just this one, and no other change may come."""

    async def allow(changes: bool) -> None:
        rights = api.ParticipantPermission(
            can_subscribe=True, can_publish=True, can_publish_data=True, can_update_metadata=changes
        )
        identity = agent.local_participant.identity
        change = api.UpdateParticipantRequest(room=agent.name, identity=identity, permission=rights)
        url = livekit_keys.url.replace("ws", "http", 1)
        async with api.LiveKitAPI(url, livekit_keys.api_key, livekit_keys.api_secret, failover=False) as service:
            await service.room.update_participant(change)

    async with telling(livekit_keys) as (teller, _, agent, reads):
        await allow(False)
        teller.show("speaking")
        await until(lambda: "will be told again" in caplog.text, "a refusal")
        seen = reads.remote_participants[agent.local_participant.identity]
        assert "lk.agent.state" not in seen.attributes
        await allow(True)
        await until(lambda: seen.attributes.get("lk.agent.state") == "speaking", "the state")


async def test_a_room_that_is_gone_is_said(livekit_keys: Keys) -> None:
    async with telling(livekit_keys) as (teller, _, agent, _):
        await agent.disconnect()
        with pytest.raises((RuntimeError, ConnectionError, rtc.participant.PublishDataError)):
            await teller.tell(m.StateChanged("idle"))


def test_every_state_has_a_word_that_livekit_s_clients_know() -> None:
    known = {"initializing", "idle", "listening", "thinking", "speaking"}
    assert set(SHOWN_STATES.values()) <= known
    assert set(SHOWN_STATES) == {state.name.lower() for state in State} - {"closed"}
