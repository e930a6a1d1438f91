"""Transcriptions in a LiveKit room: text streams on `lk.transcription`, read as they grow."""

import asyncio
from collections.abc import Callable

from livekit import rtc

from loadtest.room_facts import FINAL, SEGMENT, STABLE, TRANSCRIPTION, Words

TEXT_LIMIT = 100_000
"""Characters of one segment; what comes after is not kept."""


class TextStreams:
    """Reads every transcription stream of a room to its end, each in a task of its own.

    They are read side by side: what arrives of a stream when a later one of its segment has been heard is old news, and
    is dropped.
    """

    def __init__(self, room: rtc.Room, receive: Callable[[Words], None]) -> None:
        self._room, self._receive = room, receive
        self._readers: set[asyncio.Task[None]] = set()
        self._opened_streams = 0
        self._latest: dict[str, int] = {}
        """Of each segment, which stream was heard last, counted as they began."""
        room.register_text_stream_handler(TRANSCRIPTION, self._opened)

    def _opened(self, reader: rtc.TextStreamReader, sender: str) -> None:
        self._opened_streams += 1
        task = asyncio.create_task(self._read(reader, sender, self._opened_streams))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _read(self, reader: rtc.TextStreamReader, sender: str, place: int) -> None:
        """A stream can begin before the sender is known as a participant; whoever is not oneself is the agent."""
        by_agent = sender != self._room.local_participant.identity
        attributes = reader.info.attributes or {}
        segment_id, final = attributes.get(SEGMENT, reader.info.stream_id), attributes.get(FINAL) == "true"
        stable = int(attributes[STABLE]) if attributes.get(STABLE, "").isdecimal() else None
        text = ""
        try:
            async for part in reader:
                text = (text + part)[:TEXT_LIMIT]
                if not final:
                    self._tell(place, Words(by_agent, segment_id, text, False, stable))
            if final:
                self._tell(place, Words(by_agent, segment_id, text, True))
        except rtc.StreamError:
            return  # the call ended in the middle of it, or its sender gave it up
        finally:
            reader.close()

    def _tell(self, place: int, words: Words) -> None:
        if place >= self._latest.get(words.segment_id, 0):
            self._latest[words.segment_id] = place
            self._receive(words)

    async def aclose(self) -> None:
        """Stop reading."""
        self._room.unregister_text_stream_handler(TRANSCRIPTION)
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
