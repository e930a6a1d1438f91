"""Other agents of ours in a room, where there is to be one: which of two goes."""

import asyncio

from livekit import rtc

from serve_app.transports.livekit_words import AGENT

COLLEAGUE_S = 1.0
"""An agent that finds another one there has left again by then."""


class Colleagues:
    """As the agent of `room` sees them. `instead_of`: one that died, and may still be listed."""

    def __init__(self, room: rtc.Room, agent_name: str, instead_of: str | None) -> None:
        self._room = room
        self._agent_name = agent_name
        self._instead_of = instead_of
        self._came_back = False

    def came_back(self) -> None:
        """Our own connection had broken, and goes on."""
        self._came_back = True

    def other(self) -> str | None:
        """The identity of one that is there. The later of two agents finds the other one, and goes."""
        others = self._room.remote_participants.values()
        return next((participant.identity for participant in others if self.is_one(participant)), None)

    def is_one(self, participant: rtc.RemoteParticipant) -> bool:
        """Attributes are anybody's to set; the kind is in the token."""
        agent = participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        ours = agent and participant.attributes.get(AGENT) == self._agent_name
        return ours and participant.identity != self._instead_of

    async def makes_way(self) -> bool:
        """One has come after us. A server that restarts sends for an agent, though the room's own is about to come
        back: that one stays, and we go."""
        await asyncio.sleep(COLLEAGUE_S)
        return self.other() is not None and not self._came_back
