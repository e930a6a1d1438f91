"""Replicas without models for `loadtest.affinity`: they keep three voices and sixteen conversations, and take time."""

import asyncio
import time
from collections import OrderedDict
from typing import Any

from ray import serve

VOICES_KEPT, SESSIONS_KEPT = 3, 16
LOAD_S = 0.3
SPEAK_S, AT_ONCE = 0.1, 4
"""A phrase takes so long, and a replica makes so many at once; the others wait."""


class Work:
    """Phrases that a replica makes."""

    def __init__(self) -> None:
        self.ongoing = 0
        self._places = asyncio.Semaphore(AT_ONCE)

    async def speak(self) -> None:
        self.ongoing += 1
        try:
            async with self._places:
                await asyncio.sleep(SPEAK_S)
        finally:
            self.ongoing -= 1

    def told(self) -> dict[str, Any]:
        unit_s = SPEAK_S / AT_ONCE
        return {"ongoing": self.ongoing, "queued_s": round(self.ongoing * unit_s, 3), "unit_s": unit_s}


class Told:
    """Tells what it has in memory, for the router that is under test."""

    def __init__(self) -> None:
        self._voices: OrderedDict[str, bool] = OrderedDict()  # longest unused first; is it loaded?
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._used_at: dict[str, float] = {}
        self._loading = asyncio.Lock()
        self._work = Work()
        self._name = serve.get_replica_context().replica_id.unique_id

    async def record_routing_stats(self) -> dict[str, Any]:
        return {
            **self._work.told(),
            "resident": [voice for voice, loaded in self._voices.items() if loaded],
            "arriving": [voice for voice, loaded in self._voices.items() if not loaded],
            "room": VOICES_KEPT - len(self._voices),
            "evictable": len(self._voices),
            "idle_s": self._idle_s(),
            "load_s": LOAD_S,
            "sessions": tuple(self._sessions),
            "active_sessions": len(self._sessions),
            "session_places": SESSIONS_KEPT,
        }

    async def echo(self, text: str) -> str:
        return text

    async def speak(self, voice: str) -> tuple[str, bool]:
        """This replica, and whether the voice was in memory."""
        found = self._voices.get(voice, False)
        while not self._voices.get(voice, False):
            await self._load(voice)
        self._voices.move_to_end(voice)
        self._used_at[voice] = time.monotonic()
        await self._work.speak()
        return self._name, found

    async def answer(self, session: str) -> tuple[str, bool]:
        """This replica, and whether the conversation's prompt was in memory."""
        found = session in self._sessions
        self._sessions[session] = None
        self._sessions.move_to_end(session)
        if len(self._sessions) > SESSIONS_KEPT:
            self._sessions.popitem(last=False)
        await self._work.speak()
        return self._name, found

    async def _load(self, voice: str) -> None:
        self._voices.setdefault(voice, False)
        async with self._loading:
            if self._voices.get(voice):
                return
            self._voices[voice] = False
            while len(self._voices) > VOICES_KEPT and (old := self._unused(voice)):
                del self._voices[old]
            await asyncio.sleep(LOAD_S)
            if voice in self._voices:
                self._voices[voice] = True

    def _idle_s(self) -> float:
        """Of the voice that would leave for another one."""
        longest = next(iter(self._voices), "")
        return round(time.monotonic() - self._used_at[longest], 1) if longest in self._used_at else 0.0

    def _unused(self, wanted: str) -> str | None:
        return next((voice for voice, loaded in self._voices.items() if loaded and voice != wanted), None)


class Multiplexed:
    """The same with Serve's own way to keep models."""

    def __init__(self) -> None:
        self._work = Work()
        self._name = serve.get_replica_context().replica_id.unique_id

    @serve.multiplexed(max_num_models_per_replica=VOICES_KEPT)  # type: ignore[untyped-decorator]
    async def voice(self, name: str) -> str:
        await asyncio.sleep(LOAD_S)
        return name

    async def speak(self, voice: str) -> tuple[str, bool]:
        """See `Told.speak`. Who waits for a load did not find it."""
        began = time.monotonic()
        await self.voice(voice)
        found = time.monotonic() - began < LOAD_S / 2
        await self._work.speak()
        return self._name, found
